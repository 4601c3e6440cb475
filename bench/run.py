"""Runs what bench/bench_*.py compare, prints a table, and writes bench/results/latest.json.

    python -m bench.run [--only WORD] [--rounds N]

A module has `results(rounds: int) -> Iterator[Result]`. The exit status is 1 where a target does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import ROUNDS, Result

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Measure beside the peers.")
    parser.add_argument("--only", default="", help="only modules whose name contains this")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds, at least 5 (default {ROUNDS})")
    arguments = parser.parse_args()
    names = [path.stem for path in sorted(HERE.glob("bench_*.py")) if arguments.only in path.stem]
    results: list[Result] = []
    for name in names:
        for result in importlib.import_module(f"bench.{name}").results(arguments.rounds):
            results.append(result)
            _print(result)
    _write(results, complete=not arguments.only)
    return 0 if results and all(result.holds for result in results) else 1


def _print(result: Result) -> None:
    verdict = "holds" if result.holds else "FAILS"
    print(
        f"{verdict}  {result.id:32} ours {result.ours:>9g}  theirs {result.theirs:>9g}  "
        f"ratio {result.ratio:>9g} ±{result.spread:.0%}  {result.target}  ({result.peer})",
        flush=True,
    )


def _write(results: list[Result], *, complete: bool) -> None:
    """Results of a part replace only their own lines."""
    latest = HERE / "results" / "latest.json"
    latest.parent.mkdir(exist_ok=True)
    kept = {} if complete or not latest.exists() else {line["id"]: line for line in json.loads(latest.read_bytes())}
    kept |= {result.id: asdict(result) for result in results}
    latest.write_text(json.dumps(list(kept.values()), indent=1) + "\n")
    machine = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
    }
    latest.with_name("machine.json").write_text(json.dumps(machine, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
