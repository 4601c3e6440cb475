"""The process that trains: `python -m training.trainer`. It sees its rows and MLflow, and nothing else of the lake.

It is told a `Job` in the first line of its input, and dies when that input ends: then whoever started it is gone. It
says `{"done": …}` after each step, and at last `{"published": …}` or `{"problem": …}`.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from training.job import FINDINGS, STEPS_TO_PUBLISH, Job

_NICENESS: Final = 10  # requests go first


def main() -> None:
    """Does one job."""
    job = Job.of(sys.stdin.readline())
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is talk
    threading.Thread(target=_end_with_input, daemon=True).start()
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import sklearn.ensemble  # noqa: F401 - before the limit: where their threads get no memory, its libraries wait for ever

    resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))

    def say(**line: object) -> None:
        said.write(json.dumps(line) + "\n")
        said.flush()

    from infra.errors import Problem

    try:
        _work(job, say)
    except Problem as problem:
        traceback.print_exc()
        say(problem={"code": problem.code, "detail": problem.detail, "hint": problem.hint})
        sys.exit(1)
    except Exception as error:
        if not _of_memory(error):
            raise
        say(memory=True)
        sys.exit(1)


def _of_memory(error: Exception) -> bool:
    """Whether there was no memory: libraries say it in their own ways."""
    out_of_memory = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return out_of_memory or "can't start new thread" in str(error) or "Cannot allocate memory" in str(error)


def _work(job: Job, say: Callable[..., None]) -> None:
    from training.dataset import load
    from training.fit import STEPS, fit
    from training.publish import publish
    from training.recipes import RECIPES

    total = 1 + STEPS + STEPS_TO_PUBLISH
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        say(done=done, total=total)

    recipe = RECIPES[job.recipe]
    dataset = load(job.data)
    step()
    fitted = fit(recipe, dataset.rows, job.parameters, job.seed, step)
    findings: list[dict[str, Any]] | None = None
    if recipe.trial is not None:
        from training.findings import findings_in

        findings = findings_in(recipe, fitted)
        (Path(job.folder) / FINDINGS).write_text(json.dumps(findings))
    published = publish(job, recipe, dataset, fitted, step)
    say(published=asdict(published) | {"findings": None if findings is None else len(findings)})


def _end_with_input() -> None:
    while sys.stdin.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
