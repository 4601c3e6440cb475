"""What kinds of answers models give: how each is fitted, measured, shown and given to whoever asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from training.recipe import Numbers
from training.tasks import anomaly, classification, regression


class Task(Protocol):
    """One kind of answers. Each is a module of this package.

    `PRIMARY` names the measure that decides whether a model beats a baseline, `HIGHER` says whether more is better.
    `OUTPUTS` are the columns of a prediction, each with its description.
    """

    @property
    def PRIMARY(self) -> str: ...

    @property
    def HIGHER(self) -> bool: ...

    @property
    def OUTPUTS(self) -> Mapping[str, str]: ...

    def fit(self, pipeline: Any, features: Any, target: Numbers, /) -> None:
        """Fits a pipeline to features, a data frame."""

    def scores(self, pipeline: Any, features: Any, /) -> Numbers:
        """One number a row: a probability, an amount, or how odd it is."""

    def measure(self, target: Numbers, scores: Numbers, decision: Mapping[str, float], /) -> dict[str, float]:
        """How good scores are."""

    def decide(self, target: Numbers, scores: Numbers, share: float, /) -> dict[str, float]:
        """What turns scores into answers, chosen on what the model was fitted to; `share` is the part to call odd."""

    def answer(self, scores: Numbers, decision: Mapping[str, float], /) -> dict[str, Sequence[object]]:
        """The columns of `OUTPUTS`."""

    def plots(self, target: Numbers, scores: Numbers, /) -> dict[str, Any]:
        """Figures of matplotlib, by file name."""


TASKS: Final[dict[str, Task]] = {
    "classification": classification,
    "regression": regression,
    "anomaly": anomaly,
}
