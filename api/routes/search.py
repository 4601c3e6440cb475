"""GET /v1/search: everything about an id, or any text, in every table and file that the caller may read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from api.auth import Caller, Installed
from api.bulkhead import Bulkhead
from api.json_values import json_rows
from api.pages import PageInfo
from api.parameters import Moment
from catalog.resources import Resource, ResourceNotFound
from infra.errors import Invalid
from search.answer import Answer, Hit, SearchQuestion
from search.language import MOST_CHARACTERS, MOST_TERMS
from sql.grammar import LimitTooLarge

router = APIRouter(tags=["Search"])


class ResourceHits(BaseModel):
    """Where something was found."""

    id: str = Field(description="The table or file.", examples=["table:raw.transactions"])
    hits: int = Field(description="How many records of it match, among those that the caller may see.", examples=[3])


class MatchedOut(BaseModel):
    """A column in which a term was found."""

    column: str = Field(description="Its name.", examples=["city"])
    spans: list[tuple[int, int]] = Field(
        description="For text: the characters of the value that were found, from (included) to (left out).",
        examples=[[[0, 5]]],
    )


class HitOut(BaseModel):
    """A record that was found."""

    resource: str = Field(description="The table or file that it is in.")
    key: dict[str, Any] | None = Field(
        description="Its key; null where there is none, or none that the caller may see.",
        examples=[{"transaction_id": "tx-00000042"}],
    )
    snapshot_id: str | None = Field(description="The version that it was found in, as text; null for a file.")
    event_time: str | None = Field(
        description="When it happened; null where nothing says so.", examples=["2026-11-24T09:30:00Z"]
    )
    record: dict[str, Any] = Field(
        description="The record, as the caller may see it.",
        examples=[{"transaction_id": "tx-00000042", "city": "Paris"}],
    )
    matched: list[MatchedOut] = Field(description="Where it was found.")


class BehindOut(BaseModel):
    """A resource of which the answer does not tell the newest."""

    id: str = Field(description="The table or file.", examples=["table:raw.transactions"])
    reason: Literal["indexing", "newer-version", "version-gone", "row-filter"] = Field(
        description="`indexing`: not in the index yet. `newer-version`: found in the version before. `version-gone`: "
        "that version is no longer kept. `row-filter`: the index can't express the caller's row filter. Only with "
        "`newer-version` was it searched.",
        examples=["newer-version"],
    )
    indexed_snapshot_id: str | None = Field(description="The version in the index.", examples=["5937117119577207079"])
    snapshot_id: str | None = Field(description="The lake's version.", examples=["8201177119577207013"])
    since: datetime | None = Field(description="When the lake's version came to be.")


class SearchOut(BaseModel):
    """A page of hits."""

    total: int = Field(description="Hits on all pages.", examples=[3])
    resources: list[ResourceHits] = Field(description="Everything in which something was found, most hits first.")
    hits: list[HitOut] = Field(description="This page's hits, in order.")
    page: PageInfo = Field(description="How to go on.")
    behind: list[BehindOut] = Field(description="Resources of which this is not the newest; empty as a rule.")
    policy_version: int = Field(description="The policy version that decided.")


@router.get("/v1/search", operation_id="search", summary="Search every table and file", response_model=SearchOut)
async def search(
    *,
    request: Request,
    access: Caller,
    installation: Installed,
    q: Annotated[
        str,
        Query(
            description=f"""What has to be found: all terms, at most {MOST_TERMS} of them and {MOST_CHARACTERS}
characters. `paris` a word; `"rue de rivoli"` words in a row; `tx-00000042` an id, with all that it is made of; `par*` a
word's start; `pariss~` a word, or one a letter away; `city:paris` in one column; `amount:>100`, `amount:10..20`,
`amount:19.90` numbers, dates and times; `*` everything. Case and accents don't count.""",
            examples=["tx-00000042"],
        ),
    ],
    from_: Annotated[
        Moment | None, Query(alias="from", description="Only records that happened then or later.")
    ] = None,
    to: Annotated[Moment | None, Query(description="Only records that happened before.")] = None,
    resource: Annotated[
        str | None,
        Query(
            max_length=255,
            description="Only this table or file, as `/v1/resources` names it.",
            examples=["table:raw.transactions"],
        ),
    ] = None,
    order: Annotated[
        Literal["relevance", "time"],
        Query(description="`relevance`: values that are a term and nothing else first. `time`: the newest first."),
    ] = "relevance",
    limit: Annotated[int, Query(ge=1, description="Most hits on a page; the server's page limit is the most.")] = 10,
    cursor: Annotated[
        str | None,
        Query(max_length=4096, description="Where to go on: `page.next_cursor` of the last page."),
    ] = None,
) -> Response:
    """Finds records by what they say, in every table and raw file that the caller may read.

    A row that the caller may not see is not found and not counted, and a masked value matches nothing: what is found
    is what filtering the governed rows would give. Each record is read from the lake under the caller's policies, at
    the version that it was found in. All pages of a search come from one version of the index.

    Where the index has not caught up with the lake, `behind` says of which table or file.
    """
    access.enter("search")
    if limit > installation.settings.page_limit:
        raise LimitTooLarge(
            f"A page has at most {installation.settings.page_limit} hits.",
            hint="Follow page.next for more.",
            parameter="limit",
        )
    question = SearchQuestion(q, from_, to, _resource(resource), order, limit, cursor)
    searches: Bulkhead = request.app.state.searches
    answer = await searches.run(installation.search.search, access, question)
    with access.timed("encode"):
        next_, headers = None, {}
        if answer.next_cursor is not None:
            given = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
            next_ = f"{request.url.path}?{urlencode([*given, ('cursor', answer.next_cursor)])}"
            headers = {"Link": f'<{next_}>; rel="next"'}
        # Written here: FastAPI would check each value of each record once more.
        text = answer_out(answer, limit, next_).model_dump_json()
        return Response(text, media_type="application/json", headers=headers)


def _resource(text: str | None) -> Resource | None:
    if text is None:
        return None
    kind, _, name = text.partition(":")
    try:
        if kind in {"table", "file"}:
            return Resource.table(name) if kind == "table" else Resource.file(name)
    except Invalid:
        pass
    raise ResourceNotFound()


def answer_out(answer: Answer, limit: int, next_: str | None) -> SearchOut:
    """The answer as JSON has it.

    Args:
        answer: a page.
        limit: most hits on it.
        next_: path and query of the next one.
    """
    return SearchOut(
        total=answer.total,
        resources=[ResourceHits(id=str(found), hits=hits) for found, hits in answer.resources],
        hits=[_hit(hit) for hit in answer.hits],
        page=PageInfo(limit=limit, next_cursor=answer.next_cursor, next=next_),
        behind=[
            BehindOut(
                id=str(behind.resource),
                reason=behind.reason,
                indexed_snapshot_id=_text(behind.indexed_snapshot_id),
                snapshot_id=_text(behind.snapshot_id),
                since=behind.since,
            )
            for behind in answer.behind
        ],
        policy_version=answer.policy_version,
    )


def _hit(hit: Hit) -> HitOut:
    (record,) = json_rows(hit.record)
    moment = record.get(hit.event_time or "")
    return HitOut(
        resource=str(hit.resource),
        key={name: record[name] for name in hit.key} or None,
        snapshot_id=_text(hit.snapshot_id),
        event_time=None if moment is None else str(moment),
        record=record,
        matched=[MatchedOut(column=matched.column, spans=list(matched.spans)) for matched in hit.matched],
    )


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
