"""Runs a job in a process of its own, which is gone when this returns, however it returns."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from infra.errors import Internal, Invalid, Problem, Unavailable
from training.job import Job, Published
from training.recipe import TooFewRows
from training.tracking import MlflowUnavailable

_LOOK_EVERY: Final = 0.2  # seconds
LOG: Final = "trainer.log"
_ROOT: Final = Path(__file__).parent.parent
# What the process gets of our environment: none of our settings, no secret of anybody's but MLflow's own.
_PASSED: Final = ("PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PASSED_PREFIX: Final = "MLFLOW_TRACKING_"


# What the process may say that went wrong; it has no other words.
_PROBLEMS: Final[dict[str, type[Problem]]] = {problem.code: problem for problem in (TooFewRows, MlflowUnavailable)}


# Last words of libraries that end a process where they get no memory, for themselves or for a thread.
_NO_MEMORY: Final = (b"bad_alloc", b"Resource temporarily unavailable", b"Memory allocation still failed")


class TrainingTimeout(Unavailable):
    code, title = "training-timeout", "The training took too long"


class TrainingTooLarge(Invalid):
    code, title = "training-too-large", "The training needs more memory than it may have"


class TrainingFailed(Internal):
    code, title = "training-failed", "The training failed"


def train(job: Job, *, timeout: float, alive: Callable[[int, int], None]) -> Published:
    """Trains.

    Args:
        job: what to do.
        timeout: seconds that it may take.
        alive: called a few times a second with the steps done and all steps; may raise to end the training.

    Raises:
        Problem: whatever kept the training from its end; nothing is registered then.
    """
    log = Path(job.folder) / LOG
    environment = {name: value for name, value in os.environ.items() if name in _PASSED or _passed(name)}
    environment |= {
        "PYTHONPATH": str(_ROOT),
        "OMP_NUM_THREADS": str(min(2, os.cpu_count() or 1)),
        "PYTHONHASHSEED": "0",
    }
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait spin otherwise, and take the time of requests
    environment["MPLCONFIGDIR"] = job.folder
    with log.open("wb") as talk:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.trainer"],
            cwd=job.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=talk,
            start_new_session=True,
        )
    try:
        said, told = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin)
        told.write(job.text().encode() + b"\n")
        told.flush()  # and stays open: the process ends when it closes
        return _follow(process, said, log, time.monotonic() + timeout, alive)
    finally:
        _end(process)


def _passed(name: str) -> bool:
    return name.startswith(_PASSED_PREFIX)


def _follow(
    process: subprocess.Popen[bytes], said: IO[bytes], log: Path, deadline: float, alive: Callable[[int, int], None]
) -> Published:
    os.set_blocking(said.fileno(), False)
    done, total, unread = 0, 1, b""
    with selectors.DefaultSelector() as selector:
        selector.register(said, selectors.EVENT_READ)
        while True:
            alive(done, total)
            if time.monotonic() > deadline:
                raise TrainingTimeout(
                    "The training was stopped because it ran too long.",
                    hint="Train on fewer rows, or ask the operator to raise SLUICE_TRAINING_TIMEOUT.",
                )
            if not selector.select(_LOOK_EVERY):
                continue
            piece = said.read()
            if piece == b"":
                raise _died(process, log)
            *lines, unread = (unread + (piece or b"")).split(b"\n")
            for line in lines:
                told = json.loads(line)
                if "published" in told:
                    return Published(**{name: _tuple(value) for name, value in told["published"].items()})
                if "problem" in told or "memory" in told:
                    raise _problem(told)
                done, total = told["done"], told["total"]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _problem(told: Mapping[str, Any]) -> Exception:
    if "memory" in told:
        return _too_large()
    problem = told["problem"]
    return _PROBLEMS[problem["code"]](problem["detail"], hint=problem["hint"])


def _died(process: subprocess.Popen[bytes], log: Path) -> Exception:
    killed = process.wait() == -signal.SIGKILL  # by the machine, which had no memory left
    if killed or any(word in log.read_bytes() for word in _NO_MEMORY):
        return _too_large()
    return TrainingFailed(
        "The training's process ended before it was done.", hint="An operator finds the reason in the log."
    )


def _too_large() -> Exception:
    return TrainingTooLarge(
        "The training needs more memory than it may have.",
        hint="Train on fewer rows, or ask the operator to raise SLUICE_TRAINING_MEMORY.",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills it and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            if stream is not None:
                stream.close()
