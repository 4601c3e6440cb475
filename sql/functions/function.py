"""What a row of the functions' table says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from sql import types
from sql.types import TypeMismatch

# Builds DuckDB's form of a call out of its arguments, which are DuckDB's already and know their types in Trino.
Build = Callable[[Sequence[exp.Expr]], exp.Expr]

ANY_KIND: Final = frozenset({"T", "U", "K", "V", "any"})


@dataclass(frozen=True, slots=True)
class Fails:
    """What an example comes to where Trino refuses it.

    Args:
        error: the name of Trino's error.
    """

    error: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function.

    Args:
        name: for people.
        kinds: families of types that it takes; a generic (`T`) takes any.
        optional, repeated: may be missing; may come several times (the last one only).
    """

    name: str
    kinds: tuple[str, ...]
    optional: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function.

    Args:
        signature: as `name(a varchar, b bigint?, c T...) -> varchar`. Kinds are families of types, `number` among them,
            or `literal` and `function`; `T`, `K` and `V` are types that the result may refer to.
        lowered: its form in DuckDB: SQL with `_1`, `_2`, `_all` for the arguments, or what builds it. In an aggregate
            `per_group(…)` stands around each part that FILTER and OVER belong to.
        examples: calls, and what Trino answers.
        aliases: other names of the same.
        note: what differs from Trino on the embedded engine, or is refused.
        total: whether it has a value for every argument: such a function may be evaluated on rows that stay hidden.
        aggregate, window: whether it is one.
    """

    signature: str
    lowered: str | Build
    examples: tuple[tuple[str, object], ...]
    aliases: tuple[str, ...] = ()
    note: str = ""
    total: bool = False
    aggregate: bool = False
    window: bool = False
    name: str = field(init=False, default="")
    parameters: tuple[Parameter, ...] = field(init=False, default=())
    returns: str = field(init=False, default="")

    def __post_init__(self) -> None:
        head, _, returns = self.signature.partition(" -> ")
        name, _, inner = head.partition("(")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "returns", returns)
        parameters = tuple(_parameter(text) for text in inner.removesuffix(")").split(", ") if text)
        object.__setattr__(self, "parameters", parameters)

    def check(self, arguments: Sequence[exp.Expr]) -> None:
        """Holds arguments against the parameters.

        Raises:
            TypeMismatch: too few, too many, or of a type that Trino does not take either.
        """
        least = sum(not parameter.optional and not parameter.repeated for parameter in self.parameters)
        repeated = bool(self.parameters) and self.parameters[-1].repeated
        if len(arguments) < least or (len(arguments) > len(self.parameters) and not repeated):
            raise TypeMismatch(f"{self.name} takes other arguments.", hint=f"Write {self.signature}.")
        for place, argument in enumerate(arguments):
            parameter = self.parameters[min(place, len(self.parameters) - 1)]
            given = types.kind(types.type_of(argument))
            if given and not ANY_KIND.intersection(parameter.kinds) and not _takes(parameter.kinds, given):
                raise TypeMismatch(
                    f"{self.name} takes no {types.name(types.type_of(argument))} there.",
                    hint=f"Write {self.signature}.",
                )

    def result(self, arguments: Sequence[exp.Expr]) -> exp.DataType:
        """The type of a call, where it is known."""
        if self.returns in ANY_KIND or self.returns in {"array(T)", "element(T)", "key(T)", "value(T)"}:
            generic = self.returns if self.returns in ANY_KIND else "T"
            found = [
                types.type_of(argument)
                for place, argument in enumerate(arguments)
                if generic in self.parameters[min(place, len(self.parameters) - 1)].kinds
            ]
            common = types.common(*found) if found else types.UNKNOWN
            return _part(self.returns, common)
        return types.UNKNOWN if self.returns == "unknown" else types.build(self.returns)


def _part(returns: str, of: exp.DataType) -> exp.DataType:
    if returns == "array(T)":
        return exp.DataType(this=exp.DType.ARRAY, expressions=[of], nested=True)
    places = {"element(T)": 0, "key(T)": 0, "value(T)": 1}
    if returns in places:
        parts = of.expressions
        return parts[places[returns]] if len(parts) > places[returns] else types.UNKNOWN
    return of


def _parameter(text: str) -> Parameter:
    name, _, kinds = text.partition(" ")
    bare = kinds.removesuffix("...").removesuffix("?")
    return Parameter(name, tuple(bare.split("|")), optional=kinds.endswith("?"), repeated=kinds.endswith("..."))


def _takes(kinds: Sequence[str], given: str) -> bool:
    for kind in kinds:
        if kind in {given, "function"} or (kind == "literal" and given in {"varchar", "number"}):
            return True
        if kind in {"integer", "bigint", "double"} and given == "number":
            return True
        if kind == "timestamp" and given in {"timestamp with time zone", "date"}:
            return True
    return False
