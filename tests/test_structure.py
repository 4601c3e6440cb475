"""The house stays as it was drawn: small files with plain names, no second copy of anything, nothing of one machine."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("api", "pipeline", "training", "search", "sql", "policies", "catalog", "infra")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
]


def test_files_are_small() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert [str(path) for path, count in lines.items() if count > 500] == []
    assert statistics.median(lines.values()) <= 150


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "helper", "common", "core", "misc", "base"])
def test_no_file_is_named_after_nothing(word: str) -> None:
    assert [str(path) for path in SOURCES if word in {path.stem, *path.relative_to(ROOT).parent.parts}] == []


def test_imports_go_one_way() -> None:
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_no_function_stands_twice() -> None:
    """Bodies of four statements or more are compared without their name, docstring and place."""
    seen: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if sum(isinstance(part, ast.stmt) for statement in body for part in ast.walk(statement)) >= 4:
                seen["\n".join(map(ast.dump, body))].append(f"{path.relative_to(ROOT)}:{node.name}")
    assert [places for places in seen.values() if len(places) > 1] == []


def test_no_passage_stands_twice() -> None:
    """Ten lines in a row, imports and blank lines aside, are in one place only."""
    seen: dict[tuple[str, ...], str] = {}
    twice = []
    for path in SOURCES:
        lines = [line.strip() for line in path.read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith(("from ", "import ", "#"))]
        for start in range(len(lines) - 9):
            passage = tuple(lines[start : start + 10])
            place = f"{path.relative_to(ROOT)}: {passage[0]}"
            if seen.setdefault(passage, place) != place:
                twice.append((seen[passage], place))
    assert twice == []


def test_nothing_is_left_to_do_or_bound_to_one_machine() -> None:
    """What is committed holds no note to oneself, no path of somebody's machine and no package registry's host."""
    marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/"]
    marks += [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "repo.maven" + ".apache",
        "registry" + ".npm",
    ]
    found = []
    for path in TRACKED:
        if not path.is_file() or path.suffix in {".parquet", ".png"}:
            continue
        text = path.read_text(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {mark}" for mark in marks if mark in text]
    assert found == []


def test_our_names_are_ours() -> None:
    """Import names are plain words: no other distribution may own one, nor the abandoned namesake of pycasbin."""
    owners = packages_distributions()
    assert {room: owners.get(room, []) for room in ROOMS if set(owners.get(room, [])) - {"sluice"}} == {}
    assert "casbin" not in {item.name.lower() for item in distributions()}


def test_requirements_are_locked_with_hashes_and_name_no_registry() -> None:
    for name in ("runtime.txt", "dev.txt", "uv.txt"):
        text = (ROOT / "requirements" / name).read_text()
        pinned = [line for line in text.splitlines() if line and line[0] not in "# "]
        assert pinned, name
        assert text.count("--hash=sha256:") >= len(pinned), name
        assert "://" not in text, name
