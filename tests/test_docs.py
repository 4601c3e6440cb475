"""The docs say what the code does: nothing is missing, links lead somewhere, and commands run as they are printed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
import typer.main

from api.cli import app
from api.formats import FORMATS
from catalog.resources import KINDS
from infra.errors import PROBLEMS, Problem
from infra.settings import Settings
from policies.actions import ACTIONS
from policies.masks import MASKS
from sql.metrics import METRICS
from sql.operators import OPERATORS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
BIN = Path(sys.executable).parent

for room in ("infra", "catalog", "policies", "sql", "pipeline", "training", "api"):
    for module in walk_packages(import_module(room).__path__, f"{room}."):
        if ".migrations" not in module.name:
            import_module(module.name)  # so that every problem is known


def test_the_tables_that_programs_write_are_current() -> None:
    pages = [str(page) for page in PAGES if "[[[cog" in page.read_text()]
    checked = subprocess.run(
        [BIN / "cog", "-I", "docs", "--check", "--diff", *pages],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr + "\nmake docs renews them"


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("settings.md", (f"SLUICE_{name.upper()}" for name in Settings.model_fields)),
        ("filters.md", OPERATORS),
        ("policies.md", MASKS),
        ("policies.md", ACTIONS),
        ("policies.md", KINDS),
        ("metrics.md", (f"GET /v1/metrics/{name}" for name in METRICS)),
        ("formats.md", (item.media_type for item in FORMATS.values())),
        ("problems.md", PROBLEMS),
    ],
    ids=["settings", "operators", "masks", "actions", "kinds", "metrics", "formats", "problems"],
)
def test_every_entry_of_a_vocabulary_is_documented(page: str, names: Iterable[str]) -> None:
    text = (DOCS / page).read_text()
    assert [name for name in names if f"`{name}" not in text] == []


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_problem_has_its_page(problem: type[Problem]) -> None:
    page = DOCS / "problems" / f"{problem.code}.md"
    title, *lines = page.read_text().splitlines()
    assert title == f"# {problem.title}"
    assert str(problem.status) in "\n".join(lines)
    assert len(lines) <= 30


def test_every_page_of_a_problem_has_its_problem() -> None:
    assert {page.stem for page in (DOCS / "problems").glob("*.md")} - PROBLEMS.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", prose)
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", (DOCS / "threat-model.md").read_text()))))
def test_the_threat_model_names_tests_that_there_are(name: str) -> None:
    assert any(f"def {name}(" in path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def commands_in(page: Path) -> list[str]:
    """Each use of `sluice` in a page's blocks, with continued lines joined."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("sluice ")]


@pytest.mark.parametrize(
    "command", sorted({command for page in PAGES for command in commands_in(page)}), ids=lambda command: command[:60]
)
def test_commands_in_the_docs_exist_with_their_options(command: str) -> None:
    node: Any = typer.main.get_command(app)
    words = command.partition("#")[0].split()[1:]
    while hasattr(node, "commands"):
        assert words, f"{command} is not a whole command"
        assert words[0] in node.commands
        node = node.commands[words.pop(0)]
    known = {name for parameter in node.params for name in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} - known == set()


def runs_in(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Blocks that are marked to be run, each with the lines that its output has to hold."""
    pattern = r"<!-- run -->\n+```sh\n(.*?)^```\n*(?:<!-- prints -->\n+```\n(.*?)^```)?"
    for script, prints in re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE):
        yield script, prints.splitlines()


Start = Callable[[Path], Mapping[str, Any]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A demo at work, as the variables that the docs' commands use."""
    folder = tmp_path_factory.mktemp("docs")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment |= {"PYTHONPATH": str(ROOT), "PATH": f"{BIN}{os.pathsep}{environment['PATH']}"}
    process = subprocess.Popen(
        [BIN / "sluice", "demo", "--port", "0", "--dir", folder, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    tokens = {name.upper(): token for name, token in ready["tokens"].items()}
    yield environment | tokens | {"URL": ready["url"]}
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("script", "prints"),
    [pytest.param(*run, id=f"{page.stem}-{n}") for page in PAGES for n, run in enumerate(runs_in(page), 1)],
)
def test_what_is_marked_to_run_does_what_is_printed(
    script: str, prints: list[str], demo: Mapping[str, str], tmp_path: Path
) -> None:
    script = script.replace("curl -s ", "curl -sS ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=dict(demo),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = prints or ['"data":']
    assert [line for line in expected if line not in done.stdout] == [], done.stdout
