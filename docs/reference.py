"""The tables in these pages that programs write, so that they say what the code does. `make docs` renews them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer.main


def settings() -> str:
    """Every setting: its variable, type, default and description."""
    from infra.settings import Settings

    rows = (
        (
            f"`SLUICE_{name.upper()}`",
            _type(field.annotation),
            "" if field.default is None else f"`{_default(field.default)}`",
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    )
    return _table(("setting", "type", "default", "what it is"), rows)


def operators() -> str:
    """Every filter operator: its meaning, the types it is for and an example."""
    from sql.operators import OPERATORS

    rows = (
        (f"`{item.key}`", item.meaning, ", ".join(sorted(item.types)) if item.types else "any", f"`{item.example}`")
        for item in OPERATORS.values()
    )
    return _table(("operator", "meaning", "types", "example"), rows)


def functions() -> str:
    """Every function of SQL, by group, with an example and what it comes to."""
    from sql.functions import GROUPS

    return "\n\n".join(
        f"## {group}\n\n"
        + _table(
            ("function", "example", "comes to", "to know"),
            (
                (
                    ", ".join([f"`{item.signature}`", *(f"`{alias}`" for alias in item.aliases)]),
                    f"`{item.examples[0][0]}`",
                    f"`{_example(item.examples[0][1])}`",
                    item.note,
                )
                for item in rows
            ),
        )
        for group, rows in GROUPS.items()
    )


def syntax() -> str:
    """Operators, conversions and clauses, each with an example and what it comes to."""
    from sql.functions.syntax import EXAMPLES

    return _table(("SQL", "comes to"), ((f"`{text}`", f"`{_example(value)}`") for text, value in EXAMPLES))


def commands() -> str:
    """Every command of the command line, with its arguments and options."""
    from api.cli import app

    return "\n\n".join(_command(names, command) for names, command in leaves(app))


def problems() -> str:
    """Every problem, by status, linked to its page."""
    from infra.errors import PROBLEMS

    pages = {page.stem for page in Path(__file__).with_name("problems").glob("*.md")}
    rows = (
        (str(item.status), f"[`{code}`](problems/{code}.md)" if code in pages else f"`{code}`", item.title)
        for code, item in sorted(PROBLEMS.items(), key=lambda pair: (pair[1].status, pair[0]))
    )
    return _table(("status", "code", "title"), rows)


def opa_operations() -> str:
    """Every operation that Trino's access control asks about, with who may."""
    from sql.opa.operations import OPERATIONS

    return _table(("operation", "who may"), ((f"`{item.name}`", item.meaning) for item in OPERATIONS.values()))


def leaves(app: typer.Typer) -> Iterator[tuple[tuple[str, ...], typer.main.TyperCommand]]:
    """Each command that does something, with the words that name it."""

    def walk(names: tuple[str, ...], command: typing.Any) -> Iterator[tuple[tuple[str, ...], typing.Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield names, command
        else:
            for name, child in children.items():
                yield from walk((*names, name), child)

    return walk(("sluice",), typer.main.get_command(app))


def _command(names: Sequence[str], command: typing.Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
    usage = " ".join([*names, *(item.metavar or item.name.upper() for item in arguments)])
    lines = [f"### `{usage}`", "", (command.help or "").strip(), ""]
    lines += [f"- `{', '.join(item.opts)}`: {item.help}" for item in options if "--help" not in item.opts]
    return "\n".join(lines).rstrip()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _example(value: object) -> str:
    from sql.functions.function import Fails

    if isinstance(value, Fails):
        return value.error
    if isinstance(value, list):
        return f"[{', '.join(_example(item) for item in value)}]"
    if isinstance(value, bytes):
        return f"X'{value.hex().upper()}'"
    return str(value).lower() if isinstance(value, bool) else "NULL" if value is None else str(value)


def _type(annotation: object) -> str:
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{item}`" for item in typing.get_args(annotation))
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_type(item) for item in typing.get_args(annotation) if item is not type(None))
    return names.get(annotation, str(annotation))  # type: ignore[call-overload]


def _default(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
