"""/v1/models: models trained on what their owner may see, and asked by whoever may see as much."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed
from api.idempotency import Key, remember, repeated
from api.installation import Installation
from api.pages import Listing, Paged
from api.parameters import Moment
from api.routes.operations import OperationOut, shown
from api.trail import HttpAccess
from catalog.resources import Resource, ResourceNotFound
from infra.errors import Invalid
from policies.decide import decide
from sql.door import NotAllowed
from sql.query import Version
from training.models import STALE, ModelVersion
from training.predictions import MOST_ROWS, inputs_of
from training.recipe import Input, Parameter, Recipe
from training.recipes import RECIPES
from training.tasks import TASKS
from training.trainings import Asked

router = APIRouter(prefix="/v1/models", tags=["Models"])

RecipeName = Annotated[
    str, Path(max_length=64, description=f"One of {', '.join(RECIPES)}.", examples=["transaction_status"])
]
ModelName = Annotated[str, Path(max_length=64, description="The model, named as its recipe.", examples=["spend"])]

_ROW: JsonDict = {item.name: item.example for item in RECIPES["spend"].inputs}


class VersionsConflict(Invalid):
    code, title = "several-versions-asked", "More than one version of the table was asked for"


class TrainingIn(BaseModel):
    """What is to be trained."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"table": "curated.transactions", "seed": 7}]}
    )
    table: str | None = Field(None, max_length=130, description="`namespace.name`; null for the recipe's own table.")
    snapshot: str | None = Field(
        None, pattern="^[0-9]{1,19}$", description="A version's id, as text; null for the present version."
    )
    as_of: Moment | None = Field(None, description="The version that was current then.")
    tag: str | None = Field(None, max_length=128, description="The version that a tag names.")
    parameters: dict[str, str | float] = Field(
        default_factory=dict, max_length=20, description="Of the recipe: `GET /v1/models` lists them."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="The same one gives the same model from the same rows.")


class InputOut(BaseModel):
    """A column that a model is asked with."""

    name: str = Field(description="Its name.", examples=["currency"])
    type: str = Field(description="`text`, `number` or `time`.", examples=["text"])
    description: str = Field(description="What it is.", examples=["ISO 4217 code."])
    example: str | float = Field(description="A value that was made up.", examples=["EUR"])


class ParameterOut(BaseModel):
    """Something that a training may choose."""

    name: str = Field(description="Its name.", examples=["days"])
    description: str = Field(description="What it is.", examples=["How many days to look ahead."])
    default: str | float = Field(description="What is taken where nothing is chosen.", examples=[7])
    expected: str = Field(description="What fits.", examples=["1 to 90"])


class VersionOut(BaseModel):
    """A version of a model: what it was made of, and how good it is."""

    version: int = Field(description="MLflow's number.", examples=[3])
    owner: str = Field(description="Who trained it.", examples=["user:alice"])
    created_at: datetime = Field(description="When it was registered.")
    table: str = Field(description="The table that it was trained on.")
    snapshot_id: str | None = Field(description="The pinned version of that table, as text.")
    policy_version: int = Field(description="The policy version that decided which rows it saw.")
    row_filtered: bool = Field(description="Whether a row filter was in force.", examples=[True])
    columns: list[str] = Field(description="The columns that it was trained on.")
    masked: list[str] = Field(description="Those of them that were masked.")
    rows: int = Field(description="How many rows were read.", examples=[21480])
    data_digest: str = Field(
        description="SHA-256 over those rows, in one order.",
        examples=["9b74c9897bac770ffc029102a200c5de7c5a1c0b2e5a4a3e2c7f1d0b6a8e4f21"],
    )
    seed: int = Field(description="Of everything that was drawn.", examples=[7])
    parameters: dict[str, str | float] = Field(
        description="As they were chosen.", examples=[{"per": "user", "days": 7}]
    )
    measure: str = Field(description="The measure that decides.", examples=["mean_absolute_error"])
    measures: dict[str, float] = Field(
        description="How good it is on held-out time.", examples=[{"mean_absolute_error": 27.3}]
    )
    baselines: dict[str, dict[str, float]] = Field(
        description="How good each baseline is on the same examples.",
        examples=[{"as_last_week": {"mean_absolute_error": 32.1}}],
    )
    beats_baseline: bool = Field(description="Whether it is better than all of them.", examples=[True])
    stale: list[str] = Field(
        description="Why it may no longer hold: " + "; ".join(f"`{code}`: {text}" for code, text in STALE.items()),
        examples=[["rows-changed"]],
    )
    inputs: list[InputOut] = Field(description="What it is asked with.")
    mlflow_run_id: str = Field(description="MLflow's run.", examples=["adaf15e625c5466f9e35b9431ab657a3"])
    mlflow_url: str | None = Field(
        description="The run in MLflow's UI.", examples=["http://127.0.0.1:5000/#/experiments/1/runs/adaf15e6"]
    )
    mlflow_version_url: str | None = Field(
        description="The version in MLflow's UI.", examples=["http://127.0.0.1:5000/#/models/spend/versions/3"]
    )


class ModelOut(BaseModel):
    """A model: a recipe, and the newest version that the caller may use."""

    id: str = Field(description="`model:name`, as grants name it.", examples=["model:spend"])
    name: str = Field(description="The recipe's name.", examples=["spend"])
    description: str = Field(description="What it answers.", examples=["What a user will spend over the next days."])
    task: str = Field(description=f"One of {', '.join(TASKS)}.", examples=["regression"])
    table: str | None = Field(
        description="What it is trained on unless another table is named; null where the caller may not know of it.",
        examples=["table:curated.transactions"],
    )
    parameters: list[ParameterOut] = Field(description="What a training may choose.")
    outputs: dict[str, str] = Field(
        description="The columns of a prediction.", examples=[{"amount": "What is expected, in the currency."}]
    )
    newest: VersionOut | None = Field(
        description="The newest version that the caller may use; null where there is none."
    )


class PredictionsIn(BaseModel):
    """Rows to ask a model with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rows": [_ROW]}]})
    rows: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=MOST_ROWS,
        description="Each with every input of the version, null where a value is not known.",
    )
    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Which version; null for the caller's newest, or the newest they may use."
    )


class PredictionsOut(BaseModel):
    """What a model answers."""

    model: str = Field(description="The model.", examples=["spend"])
    version: int = Field(description="The version that answered.", examples=[3])
    stale: list[str] = Field(description="Why the version may no longer hold; empty where it does.", examples=[[]])
    data: list[dict[str, Any]] = Field(
        description="An object for each row, in order, with the model's outputs.", examples=[[{"amount": 91.4}]]
    )


@router.post("/{recipe}/trainings", status_code=202, operation_id="train_model", summary="Train a model")
async def train_model(
    recipe: RecipeName,
    body: TrainingIn,
    access: Caller,
    installation: Installed,
    response: Response,
    *,
    key: Key = None,
) -> OperationOut:
    """Trains a model on exactly the rows and columns that the caller may see, masked as they are, at one version of the
    table. Needs `train` on it.

    The operation's result names MLflow's run and the model's version. `POST /v1/operations/{id}/cancel` ends it.
    """
    versions = [name for name in ("snapshot", "as_of", "tag") if getattr(body, name) is not None]
    if len(versions) > 1:
        raise VersionsConflict(
            f"{' and '.join(versions)} were given together.", hint="Give one of them.", parameter=versions[1]
        )

    def work() -> OperationOut:
        with installation.db.reading() as session:
            first = repeated(session, access, key)
        if first is not None:
            return OperationOut.model_validate(first)
        access.trail.changing()
        trail = access.trail.follow_up("training")
        asked = Asked(
            recipe=recipe,
            table=body.table,
            version=Version(int(body.snapshot) if body.snapshot else None, body.as_of, body.tag),
            parameters=body.parameters,
            seed=body.seed,
        )
        following = HttpAccess(access.principal, "training", access.request_id, trail)
        started = installation.trainings.start(following, asked, ended=lambda well: trail.end(200 if well else 500, 0))
        answer = shown(started)
        with installation.db.writing() as session:
            remember(session, access, key, 202, answer.model_dump(mode="json"))
        return answer

    answer = await run_in_threadpool(work)
    response.headers["Location"] = f"/v1/operations/{answer.id}"
    return answer


@router.get("", operation_id="list_models", summary="List models")
async def list_models(access: Caller, installation: Installed, paging: Paged) -> Listing[ModelOut]:
    """Lists the models that the caller may know of, each with the newest version that they may use. A recipe that was
    never trained is listed too: it shows what can be asked for.
    """

    def work() -> Listing[ModelOut]:
        index = installation.policies.current()
        found = []
        for recipe in RECIPES.values():
            versions = installation.models.all(recipe.name)
            if versions and not installation.models.known(index, access.principal, recipe.name):
                versions = []
            usable = (model for model in versions if installation.models.usable(index, access.principal, model))
            table = Resource.table(recipe.table)
            shown = decide(index, access.principal, "discover", table, now=datetime.now(UTC)).known
            found.append(_model(installation, recipe, next(usable, None), table if shown else None))
        return paging.of(found, lambda model: (model.name,), lambda model: model)

    return await run_in_threadpool(work)


@router.get("/{name}/versions", operation_id="list_model_versions", summary="List a model's versions")
async def list_versions(name: ModelName, access: Caller, installation: Installed, paging: Paged) -> Listing[VersionOut]:
    """Lists the versions of a model that the caller may use, the newest first: their own, and those that were trained
    on nothing but what the caller may read today.
    """

    def work() -> Listing[VersionOut]:
        found = [_version(installation, model) for model in _usable(installation, access, name)]
        return paging.of(found, lambda version: (f"{2**31 - version.version:010}",), lambda version: version)

    return await run_in_threadpool(work)


@router.post("/{name}/predictions", operation_id="predict", summary="Ask a model")
async def predict(name: ModelName, body: PredictionsIn, access: Caller, installation: Installed) -> PredictionsOut:
    """Answers for a batch of rows. The caller's own newest version answers, or else the newest that they may use.

    A model remembers the rows that it was trained on. So whoever asks it has to be allowed to read all of them, today:
    its owner with `train` on the table, others with `read` under the same restrictions or none.
    """
    access.enter("models")

    def work() -> PredictionsOut:
        usable = _usable(installation, access, name)
        if body.version is not None:
            usable = [model for model in usable if model.version == body.version]
        if not usable:
            raise NotAllowed(
                "There is no such version of the model that you may ask.",
                hint="GET /v1/models/{name}/versions lists those that you may; or train one of your own.",
            )
        model = next((model for model in usable if model.owner == access.principal.subject), usable[0])
        index = installation.policies.current()
        for resource, action in ((Resource("model", name), "discover"), (model.table, "read")):
            access.trail.decided(decide(index, access.principal, action, resource, now=datetime.now(UTC)))
        access.trail.changing()
        answers = installation.predictor.ask(model, body.rows).rows()
        access.trail.returned(len(answers))
        return PredictionsOut(
            model=name, version=model.version, stale=list(installation.models.stale(index, model)), data=answers
        )

    return await run_in_threadpool(work)


def _usable(installation: Installation, access: HttpAccess, name: str) -> list[ModelVersion]:
    """Raises ResourceNotFound where the caller may not even know of the model."""
    index = installation.policies.current()
    if not installation.models.known(index, access.principal, name):
        raise ResourceNotFound()
    return [
        model for model in installation.models.all(name) if installation.models.usable(index, access.principal, model)
    ]


def _model(installation: Installation, recipe: Recipe, newest: ModelVersion | None, table: Resource | None) -> ModelOut:
    return ModelOut(
        id=f"model:{recipe.name}",
        name=recipe.name,
        description=recipe.description,
        task=recipe.task,
        table=None if table is None else str(table),
        parameters=[_parameter(parameter) for parameter in recipe.parameters],
        outputs=dict(TASKS[recipe.task].OUTPUTS),
        newest=newest and _version(installation, newest),
    )


def _parameter(parameter: Parameter) -> ParameterOut:
    return ParameterOut(
        name=parameter.name,
        description=parameter.description,
        default=parameter.default,
        expected=", ".join(parameter.choices) or f"{parameter.low:g} to {parameter.high:g}",
    )


def _input(item: Input) -> InputOut:
    return InputOut(name=item.name, type=item.kind, description=item.description, example=item.example)


def _version(installation: Installation, model: ModelVersion) -> VersionOut:
    source, made = model.provenance, model.published
    return VersionOut(
        version=model.version,
        owner=model.owner,
        created_at=model.created_at,
        table=source.table,
        snapshot_id=None if source.snapshot_id is None else str(source.snapshot_id),
        policy_version=source.policy_version,
        row_filtered=source.row_filtered,
        columns=list(source.columns),
        masked=list(source.masked),
        rows=made.counts["rows"],
        data_digest=made.data_digest,
        seed=model.seed,
        parameters=dict(model.parameters),
        measure=TASKS[RECIPES[model.name].task].PRIMARY,
        measures=dict(made.measures),
        baselines=dict(made.baselines),
        beats_baseline=made.beats,
        stale=list(installation.models.stale(installation.policies.current(), model)),
        inputs=[_input(item) for item in inputs_of(model)],
        mlflow_run_id=made.run_id,
        mlflow_url=installation.tracking.run_link(made.experiment_id, made.run_id),
        mlflow_version_url=installation.tracking.version_link(model.name, model.version),
    )
