"""A search under a decision: what may be found of one resource, as a question to the index.

Each term is asked only of columns that are clear, and only on the rows on which they are clear: where several grants
show a table, a column may be clear on some rows and masked on others. So what the index answers is what filtering
the governed table would: a masked or a hidden value takes part in nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from catalog.relations import Column, Relation
from policies.decision import Decision
from search.documents import event_time
from search.exact import exact_value, floor_of, is_searched, is_text
from search.expression import (
    NEVER,
    Between,
    Expression,
    Fact,
    FactRange,
    NearWord,
    Word,
    WordStart,
    all_of,
    any_of,
    code,
)
from search.filters import where
from search.language import Term, near_enough
from sql.values import Value, parse_value


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for.

    Args:
        terms: all of them have to be found; none where everything is.
        start, end: microseconds since 1970 between which the event time lies; None for no end.
    """

    terms: tuple[Term, ...]
    start: int | None = None
    end: int | None = None


class Governed:
    """One resource at one version, as one caller may search it.

    Args:
        relation: the version that the index holds.
        decision: what the caller may see of it.

    Raises:
        NotSearchable: a row filter that the index can't express: then nothing is searched.
    """

    def __init__(self, relation: Relation, decision: Decision) -> None:
        self.relation, self.decision = relation, decision
        known = {column.name: column for column in relation.columns}
        self._shown = [where(view.row_filter, known) for view in decision.views]
        out_of_sight = [where(hidden, known, holds=False) for hidden in decision.hidden_rows]
        self.rows = all_of([any_of(self._shown), *out_of_sight])
        self.columns = tuple(known[name] for name in decision.columns if is_searched(known[name]))
        filters = [view.row_filter for view in decision.views]
        self.row_filters = tuple(each.sql(dialect="trino") for each in filters if each is not None)
        point = event_time(relation)
        self._point = point if point in self.columns else None

    @property
    def clear_time(self) -> bool:
        """Whether rows may be put in the order of their event time: it is clear on every row that is shown."""
        return self._point is not None and self._point.name not in self.decision.masked

    def own(self, term: Term) -> Term:
        """The term as this resource understands it: a name before a colon counts where there is such a column."""
        if term.column is None or any(column.name == term.column for column in self.columns):
            return term
        return Term(term.whole, term.how)

    def where(self, asked: Asked) -> Expression:
        """Rows that the caller may see and that match."""
        parts = [self.rows, *(self._found(self.own(term)) for term in asked.terms)]
        if asked.start is not None or asked.end is not None:
            point = [] if self._point is None else [self._point]
            parts.append(any_of(all_of([clear, Between(asked.start, asked.end)]) for _, clear in self._clear(point)))
        return all_of(parts)

    def better(self, asked: Asked) -> Iterator[tuple[Expression, int]]:
        """What makes a row rank higher: a value that is a term, and nothing but it; the terms side by side."""
        plain = [term for term in map(self.own, asked.terms) if term.column is None and term.how == "words"]
        for term in plain:
            yield self._in_clear(lambda columns, term=term: _whole_value(term.text, columns)), 2
        phrase = tuple(word for term in plain for word in term.words)
        if len(plain) > 1 and phrase:
            yield self._in_clear(lambda columns: Word(_codes(columns), phrase)), 3

    def _found(self, term: Term) -> Expression:
        named = [column for column in self.columns if term.column is None or column.name == term.column]
        return any_of(all_of([clear, found(term, columns)]) for columns, clear in self._clear(named))

    def _in_clear(self, ask: object) -> Expression:
        texts = [column for column in self.columns if is_text(column)]
        return any_of(all_of([clear, ask(columns)]) for columns, clear in self._clear(texts))  # type: ignore[operator]

    def _clear(self, columns: Sequence[Column]) -> Iterator[tuple[list[Column], Expression]]:
        """Columns that are clear on the same rows, and on which."""
        groups: dict[tuple[int, ...], list[Column]] = {}
        for column in columns:
            views = tuple(
                place for place, view in enumerate(self.decision.views) if view.columns.get(column.name, "") is None
            )
            groups.setdefault(views, []).append(column)
        for views, together in groups.items():
            yield together, any_of(self._shown[place] for place in views)


def found(term: Term, columns: Sequence[Column]) -> Expression:
    """A term in one of some columns."""
    texts = [column for column in columns if is_text(column)]
    parts = [_in_text(term, texts)] if texts else []
    parts += [_in_values(term, column) for column in columns if not is_text(column)]
    return any_of(parts)


def _in_text(term: Term, columns: Sequence[Column]) -> Expression:
    words, codes = term.words, _codes(columns)
    if not words:
        return _whole_value(term.text, columns)
    if term.how == "words":
        return Word(codes, words)
    if term.how == "start":
        if len(words) == 1:
            return WordStart(codes, words[0])
        return any_of(all_of([Word((each,), words[:-1]), WordStart((each,), words[-1])]) for each in codes)
    return any_of(
        all_of(NearWord((each,), word) if near_enough(word) else Word((each,), (word,)) for word in words)
        for each in codes
    )


def _in_values(term: Term, column: Column) -> Expression:
    if term.how != "words":
        return NEVER
    low = _value(term.text, column)
    if low is None:
        return NEVER
    if term.operator == "=":
        exact = exact_value(column, low)
        return NEVER if exact is None else Fact((f"{code(column.name)}={exact}",))
    if term.operator == "..":
        high = _value(term.high, column)
        if high is None:
            return NEVER
        return all_of([_compared(column, ">=", low), _compared(column, "<=", high)])
    return _compared(column, term.operator, low)


def _compared(column: Column, operator: str, value: Value) -> Expression:
    place = floor_of(column, value)
    if place is None:
        return NEVER
    exact, itself = place
    name = code(column.name)
    if operator in {">", ">="}:  # beyond a number between two values of the column is beyond the lower of them
        return FactRange(name, exact, None, with_low=operator == ">=" and itself)
    return FactRange(name, None, exact, with_high=operator == "<=" or not itself)


def _value(text: str, column: Column) -> Value | None:
    try:
        return parse_value(text.strip(), column.type)
    except (ValueError, KeyError):
        return None


def _whole_value(text: str, columns: Sequence[Column]) -> Expression:
    facts = [(column, exact_value(column, text)) for column in columns]
    kept = tuple(f"{code(column.name)}={exact}" for column, exact in facts if exact is not None)
    return Fact(kept) if kept else NEVER


def _codes(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(code(column.name) for column in columns)
