"""GET /docs/problems/{code}: what a problem's `type` points at."""

from __future__ import annotations

from pathlib import Path as FilesystemPath
from typing import Annotated

from fastapi import APIRouter, Path, Response

from catalog.resources import clip
from infra.errors import PROBLEMS, NotFound

router = APIRouter(tags=["Operation"])

_PAGES = FilesystemPath(__file__).parents[2] / "docs" / "problems"


@router.get(
    "/docs/problems/{code}",
    operation_id="explain_problem",
    summary="Explain a problem",
    response_class=Response,
    responses={200: {"description": "Markdown.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def explain_problem(
    code: Annotated[str, Path(max_length=64, description="The problem's `code`.", examples=["not-allowed"])],
) -> Response:
    """Says when a problem happens and what to do, as Markdown. Needs no token."""
    problem = PROBLEMS.get(code)
    if problem is None:
        raise NotFound(f"There is no problem {clip(code)}.", hint="Take the `code` of a problem that you were given.")
    page = _PAGES / f"{problem.code}.md"
    text = page.read_text(encoding="utf-8") if page.exists() else f"# {problem.title}\n\nStatus {problem.status}.\n"
    return Response(text, media_type="text/plain")
