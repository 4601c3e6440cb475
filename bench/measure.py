"""Measuring two things side by side: in turn, in one process, so that a busy machine slows both alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 9
_ROUND_SECONDS = 0.1  # one side of one round, at least
_FEWEST_CALLS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """One line of `bench/results/latest.json`.

    Args:
        id: names it for ever.
        what: one sentence.
        ours, theirs: medians over the rounds, milliseconds a call (or the unit that `what` says).
        peer: what `theirs` is.
        ratio: the median over the rounds of ours / theirs.
        target: what must hold, for example `ratio <= 1.5` or `ours <= 0.1`.
        holds: whether it does.
        spread: half the distance between the quartiles of the rounds' ratios, relative to their median.
    """

    id: str
    what: str
    ours: float
    theirs: float
    peer: str
    ratio: float
    target: str
    holds: bool
    spread: float


@dataclass(frozen=True, slots=True)
class AtMost:
    """A target: `ratio` or `ours` may not exceed a limit."""

    figure: str
    limit: float

    def __str__(self) -> str:
        return f"{self.figure} <= {self.limit:g}"


def compare(
    id: str,
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    peer: str,
    target: AtMost,
    rounds: int = ROUNDS,
) -> Result:
    """Calls both in turn, whoever begins changing each round, after a first call of each that is not counted.

    Args:
        id, what, peer, target: as `Result` has them.
        ours, theirs: one call each of what is compared.
        rounds: at least 5.
    """
    if rounds < 5:
        raise ValueError("fewer than 5 rounds say nothing")
    calls = [_calls(ours), _calls(theirs)]
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            measured[side].append(_milliseconds((ours, theirs)[side], calls[side]))
    return judge(id, what, measured[0], measured[1], peer=peer, target=target)


def judge(id: str, what: str, ours: list[float], theirs: list[float], *, peer: str, target: AtMost) -> Result:
    """A result from figures of rounds that were measured in turn."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    figures = {"ours": statistics.median(ours), "ratio": statistics.median(ratios)}
    return Result(
        id=id,
        what=what,
        ours=_short(figures["ours"]),
        theirs=_short(statistics.median(theirs)),
        peer=peer,
        ratio=_short(figures["ratio"]),
        target=str(target),
        holds=figures[target.figure] <= target.limit,
        spread=_short((quartiles[2] - quartiles[0]) / 2 / figures["ratio"]),
    )


def _short(figure: float) -> float:
    return float(f"{figure:.4g}")


def _calls(call: Callable[[], object]) -> int:
    """How many calls fill one side of a round; warms up what is measured, too."""
    calls, end = 0, time.perf_counter() + _ROUND_SECONDS
    while calls < _FEWEST_CALLS or time.perf_counter() < end:
        call()
        calls += 1
    return calls


def _milliseconds(call: Callable[[], object], calls: int) -> float:
    gc.collect()
    gc.disable()  # or the garbage of one side is collected in the time of the other
    try:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls * 1000
    finally:
        gc.enable()
