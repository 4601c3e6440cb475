"""What becomes of a catalog that is a server and does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pyiceberg.exceptions import (
    ForbiddenError,
    OAuthError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)
from requests import RequestException
from thrift.Thrift import TException

from infra.errors import Unavailable


class CatalogUnavailable(Unavailable):
    code, title = "catalog-unavailable", "The catalog does not answer"


# What a REST catalog answers that is about itself or us. An error of the server may be about one table alone.
_REFUSED: Final = (ForbiddenError, OAuthError, ServiceUnavailableError, TooManyRequestsError, UnauthorizedError)


@contextmanager
def answering() -> Iterator[None]:
    """Turns whatever a network does into one problem."""
    try:
        yield
    except (OSError, RequestException, TException, *_REFUSED) as error:
        raise CatalogUnavailable(
            "The catalog of the lake does not answer now.", hint="Try again; an operator finds the cause in the log."
        ) from error
