"""Pages of lists: how many, from where, and the sealed cursor of the next one, bound to its caller and question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.auth import Caller, Installed
from sql.cursors import Cursor, Cursors, digest

T = TypeVar("T")
Item = TypeVar("Item")


class PageInfo(BaseModel):
    """Where this page ends."""

    limit: int = Field(description="Most items on this page.")
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")
    next: str | None = Field(description="Path and query of the next page; null on the last one.")


class Listing(BaseModel, Generic[T]):
    """One page of a list."""

    model_config = ConfigDict(json_schema_extra={"description": "One page of a list."})
    data: list[T] = Field(description="The items of this page, in the list's order.")
    page: PageInfo = Field(description="How to go on.")


@dataclass(frozen=True, slots=True)
class Paging:
    """What a caller asks of a list.

    Args:
        limit: most items.
        after: the sort key of the last item that was given, as text; None at the start.
        seal: makes the cursor after a sort key.
        link: the path and query of the page that a cursor begins.
        response: gets the `Link` header.
    """

    limit: int
    after: tuple[str, ...] | None
    seal: Callable[[tuple[str, ...]], str]
    link: Callable[[str], str]
    response: Response

    def page(self, items: Sequence[Item], after: tuple[str, ...] | None) -> Listing[Item]:
        """The page of items that were looked up.

        Args:
            items: at most `limit`.
            after: the sort key of the last one where more follow.
        """
        cursor = None if after is None else self.seal(after)
        next_ = None if cursor is None else self.link(cursor)
        if next_:
            self.response.headers["Link"] = f'<{next_}>; rel="next"'
        return Listing(data=list(items), page=PageInfo(limit=self.limit, next_cursor=cursor, next=next_))

    def of(self, items: Iterable[T], key: Callable[[T], tuple[str, ...]], show: Callable[[T], Item]) -> Listing[Item]:
        """The page of a whole list, which is sorted by a unique key of texts."""
        ordered = sorted(items, key=key)
        found = [item for item in ordered if self.after is None or key(item) > self.after]
        shown = list(islice(found, self.limit))
        return self.page([show(item) for item in shown], key(shown[-1]) if len(found) > len(shown) else None)


async def _paging(
    *,
    request: Request,
    response: Response,
    access: Caller,
    installation: Installed,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most items on a page, from 1 to 1000.")] = 100,
    cursor: Annotated[
        str | None,
        Query(
            max_length=2048,
            description="Where to go on: `page.next_cursor` of the last page. It is bound to its caller and question.",
        ),
    ] = None,
) -> Paging:
    cursors = Cursors(installation.keys.cursors)
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    question = digest(request.url.path, sorted(pair for pair in given if pair[0] != "limit"))
    user = access.principal.name
    after = None if cursor is None else cursors.open(cursor, user=user, question=question).values

    def seal(values: tuple[str, ...]) -> str:
        return cursors.seal(Cursor(user, question, "", None, "", b"", values))

    def link(following: str) -> str:
        return f"{request.url.path}?{urlencode([*given, ('cursor', following)])}"

    return Paging(limit, None if after is None else tuple(str(v) for v in after), seal, link, response)


Paged = Annotated[Paging, Depends(_paging)]
