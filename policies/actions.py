"""What can be done with a resource: one row an action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Action:
    """An action.

    Args:
        name: as grants and requests write it.
        description: one sentence for the docs and the OpenAPI document.
        needs: actions that the same grant must give too, since this one shows rows; a denial of one of them denies
            this one as well.
    """

    name: str
    description: str
    needs: tuple[str, ...] = ()


ACTIONS: Final[dict[str, Action]] = {
    action.name: action
    for action in (
        Action("discover", "Know that the resource exists, its columns and its versions. Any other action implies it."),
        Action("read", "Read rows, page by page, and query them."),
        Action("export", "Take everything that may be read, at once.", needs=("read",)),
        Action("write", "Register it, tag its versions, change its data."),
        Action("replay", "Push its records to the beginning of the pipeline again.", needs=("read",)),
        Action("train", "Train models on what may be read.", needs=("read",)),
        Action("audit", "See who accessed it."),
        Action("grant", "Pass on what one holds oneself, and take it away."),
    )
}
