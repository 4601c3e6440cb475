"""What is loaded as a model: data of a few types, never anything that could run."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skops.io import dumps

from training.job import Provenance, Published
from training.models import ModelVersion
from training.predictions import ModelNotTrusted, Predictor
from training.recipes import RECIPES
from training.tracking import Tracking

RECIPE = RECIPES["transaction_status"]
ROW = {item.name: item.example for item in RECIPE.inputs}


class Kept(Tracking):
    """An MLflow that keeps one file."""

    def __init__(self, content: bytes) -> None:
        super().__init__("http://mlflow.invalid")
        self.content = content

    def artifact(self, path: str) -> bytes:
        return self.content


def version(content: bytes) -> ModelVersion:
    """One that was registered with a file."""
    source = Provenance("table:curated.transactions", 1, 1, "f", tuple(ROW), (), False, "", "user:alice")
    made = Published(
        version=1,
        run_id="run",
        experiment_id="1",
        model_id="m-1",
        artifact="1/models/m-1/artifacts/model.skops",
        artifact_digest=hashlib.sha256(content).hexdigest(),
        data_digest="",
        inputs=tuple(ROW),
        measures={},
        baselines={},
        validated=(),
        beats=True,
        decision={"threshold": 0.5},
        counts={},
    )
    return ModelVersion(RECIPE.name, 1, {}, 7, source, made, "operation", datetime.now(UTC))


def fitted(*before: object) -> bytes:
    pipeline = make_pipeline(*before, DummyClassifier(strategy="prior"))
    return bytes(dumps(pipeline.fit(np.zeros((4, 1)), [0, 1, 1, 1])))


def test_a_file_of_plain_types_is_loaded() -> None:
    content = fitted()
    assert Predictor(Kept(content)).ask(version(content), [ROW]).columns["probability"] == [0.75]


def test_a_file_with_other_types_is_not_loaded() -> None:
    """Even where its digest is that of the registered one: a function would be called with whatever is asked."""
    pipeline = make_pipeline(FunctionTransformer(os.system), DummyClassifier())
    content = bytes(dumps(pipeline))
    with pytest.raises(ModelNotTrusted):
        Predictor(Kept(content)).ask(version(content), [ROW])


def test_another_file_than_the_registered_one_is_not_loaded() -> None:
    content = fitted()
    with pytest.raises(ModelNotTrusted):
        Predictor(Kept(content + b" ")).ask(version(content), [ROW])
