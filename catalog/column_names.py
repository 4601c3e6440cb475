"""Names that columns of a file may have."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.resources import clip
from infra.errors import Invalid


class BadColumnNames(Invalid):
    code, title = "bad-column-names", "Columns can't be called so"


def is_column_name(name: str) -> bool:
    """Whether a column may be called so: 1 to 128 characters, none of them a control character."""
    return 0 < len(name) <= 128 and not any(
        ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) <= 0xDFFF for c in name
    )


def namesakes(names: Sequence[str]) -> list[str]:
    """Names that another one equals without regard to case, as SQL compares them."""
    seen: dict[str, int] = {}
    for name in names:
        for folded in {name.casefold(), name.lower()}:
            seen[folded] = seen.get(folded, 0) + 1
    return [name for name in names if seen[name.casefold()] > 1 or seen[name.lower()] > 1]


def check_column_names(names: Sequence[str], where: str) -> None:
    """Raises BadColumnNames unless every name is one and none of them is another's namesake.

    Args:
        names: of all columns.
        where: the file's or the table's name, for the message.
    """
    bad = [name for name in names if not is_column_name(name)]
    if bad or not names:
        raise BadColumnNames(
            f"{clip(where)} has " + (f"a column called {clip(bad[0])}." if bad else "no columns."),
            hint="Names have 1 to 128 characters and no control characters.",
            columns=[clip(name) for name in bad[:20]],
        )
    if twins := namesakes(names):
        raise BadColumnNames(
            f"{clip(where)} has several columns called {', '.join(clip(name) for name in twins[:4])}.",
            hint="Names of columns must differ by more than upper and lower case.",
            columns=[clip(name) for name in twins[:20]],
        )
