"""What becomes of a catalog that is a server and does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from requests import RequestException
from thrift.Thrift import TException

from infra.errors import Unavailable


class CatalogUnavailable(Unavailable):
    code, title = "catalog-unavailable", "The catalog does not answer"


@contextmanager
def answering() -> Iterator[None]:
    """Turns whatever a network does into one problem."""
    try:
        yield
    except (OSError, RequestException, TException) as error:
        raise CatalogUnavailable(
            "The catalog of the lake does not answer now.", hint="Try again; an operator finds the cause in the log."
        ) from error
