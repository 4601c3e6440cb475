"""Every option, with its default and its description: read once, when the process starts."""

from __future__ import annotations

import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Literal

from pydantic import ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from infra.errors import InvalidSettings


class Settings(BaseSettings):
    """Settings come from the environment (`SLUICE_…`), then from `sluice.toml`, then from these defaults."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", toml_file="sluice.toml", frozen=True, extra="forbid", validate_default=True
    )

    # Where things are
    state_dir: Annotated[Path, Field(description="Sluice's own state: database, secret, audit, caches.")] = Path(
        ".sluice"
    )
    lake_dir: Annotated[Path, Field(description="The folder of the lake. Nothing outside it can be read.")] = Path(
        "lake"
    )
    database_url: Annotated[
        str | None,
        Field(description="SQLAlchemy URL of Sluice's own database. Default: SQLite in `state_dir`."),
    ] = None
    secret_file: Annotated[
        Path | None, Field(description="File with the secret that keys are made from. Default: in `state_dir`.")
    ] = None

    # The lake
    catalog: Annotated[Literal["sql", "hive", "rest"], Field(description="Kind of Iceberg catalog.")] = "sql"
    catalog_uri: Annotated[
        str | None,
        Field(
            description="Address of the Iceberg catalog: an SQLAlchemy URL, `thrift://host:9083`, `https://…`. "
            "Default, for `sql`: SQLite in `state_dir`."
        ),
    ] = None
    catalog_properties: Annotated[
        dict[str, str],
        Field(
            description="Further properties of the catalog in PyIceberg's words, as JSON (`credential`, `warehouse`)."
        ),
    ] = {}
    engine: Annotated[
        Literal["duckdb", "trino"],
        Field(description="Engine that runs governed SQL over tables: embedded, or Trino."),
    ] = "duckdb"
    engine_memory: Annotated[str, Field(description="Memory cap of the embedded engine.")] = "2GB"
    engine_threads: Annotated[int, Field(ge=1, le=256, description="Threads of the embedded engine.")] = 2
    query_timeout: Annotated[float, Field(gt=0, description="Seconds after which a query is stopped.")] = 60.0

    # Trino
    trino_url: Annotated[str, Field(description="Address of Trino's coordinator, with `https` where it has TLS.")] = (
        "http://127.0.0.1:8080"
    )
    trino_user: Annotated[
        str, Field(description="The user that Sluice is in Trino; it runs queries as the people who ask.")
    ] = "sluice"
    trino_password: Annotated[
        SecretStr | None, Field(description="Its password, where Trino asks for one (that takes `https`).")
    ] = None
    trino_enforcement: Annotated[
        Literal["opa", "rewrite"],
        Field(
            description="`opa`: Trino itself enforces the policies, asking Sluice. `rewrite`: a Trino that nobody else "
            "can reach; Sluice puts the policies into each query."
        ),
    ] = "opa"
    own_url: Annotated[
        str | None, Field(description="Sluice's address as Trino reaches it. Default: that of `host` and `port`.")
    ] = None

    # SQL
    sql_scan_limit: Annotated[
        int | None, Field(ge=1, description="Most bytes of the lake's files that one SQL query may read.")
    ] = None
    sql_scan_budget: Annotated[
        int | None, Field(ge=1, description="Most bytes that one user's SQL queries may read within an hour.")
    ] = None
    sql_result_limit: Annotated[int, Field(ge=1024, description="Most bytes in one answer to a SQL query.")] = 1 << 30
    sql_queries: Annotated[int, Field(ge=1, description="Most SQL queries of one user that may be under way.")] = 10

    # The doors
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on.")] = 8000
    tls_cert: Annotated[Path | None, Field(description="Certificate chain, PEM: the doors then speak TLS only.")] = None
    tls_key: Annotated[Path | None, Field(description="Its private key, PEM.")] = None
    page_limit: Annotated[int, Field(ge=1, le=10_000, description="Most rows in one page.")] = 10
    body_limit: Annotated[int, Field(ge=1024, description="Most bytes in a request's body.")] = 1_000_000
    token_ttl: Annotated[int, Field(ge=60, description="Seconds that a token from login lasts.")] = 12 * 3600

    # Search
    search: Annotated[
        Literal["tantivy", "elasticsearch"],
        Field(description="Index behind search: embedded in the server, or Elasticsearch and `sluice index run`."),
    ] = "tantivy"
    elasticsearch_url: Annotated[
        str, Field(description="Address of Elasticsearch; a user and a password may stand in it.")
    ] = "http://127.0.0.1:9200"
    elasticsearch_name: Annotated[
        str, Field(pattern="^[a-z][a-z0-9_]{0,62}$", description="What the names of our indexes in it begin with.")
    ] = "sluice"

    # OpenID Connect
    oidc_issuer: Annotated[str | None, Field(description="Issuer whose JWTs are accepted as tokens.")] = None
    oidc_audience: Annotated[str | None, Field(description="Audience that such a JWT must name.")] = None
    oidc_jwks_url: Annotated[str | None, Field(description="Where the issuer's public keys are.")] = None
    oidc_user_claim: Annotated[str, Field(description="Claim that names the user.")] = "sub"

    # The audit
    audit: Annotated[
        Literal["on", "off"],
        Field(description="Off only to measure what the audit costs: the server then says so in `/readyz`."),
    ] = "on"
    audit_checkpoint_records: Annotated[
        int, Field(ge=1, description="A signed checkpoint after so many audit records.")
    ] = 1000

    # The real servers (`sluice stack`)
    stack_dir: Annotated[
        Path | None,
        Field(description="Data and logs of the servers that `sluice stack` starts. Default: in `state_dir`."),
    ] = None
    stack_cache: Annotated[
        Path | None,
        Field(
            description="Programs of those servers, 1.6 GB. Default: `~/.cache/sluice`, as root `/var/cache/sluice`."
        ),
    ] = None

    # The pipeline
    kafka: Annotated[str | None, Field(description="Kafka's address, `host:port,host:port`. Default: none.")] = None
    kafka_options: Annotated[
        dict[str, str], Field(description="Further properties of librdkafka, for TLS and SASL for example, as JSON.")
    ] = {}
    kafka_topic: Annotated[
        str, Field(pattern="^[a-zA-Z0-9._-]{1,249}$", description="The topic that the pipeline begins with.")
    ] = "transactions.raw"
    replay_approval: Annotated[
        bool, Field(description="Whether a second person has to approve each replay before anything is sent.")
    ] = False
    replay_limit: Annotated[
        int, Field(ge=1, description="How many times one transaction may be re-pushed: a guard against loops.")
    ] = 5
    replay_patience: Annotated[
        float, Field(gt=0, description="Seconds without progress after which a replay's proof stops waiting.")
    ] = 120.0

    # Training
    mlflow_url: Annotated[
        str | None,
        Field(pattern="^https?://", description="Address of the MLflow server that models are published to."),
    ] = None
    training_timeout: Annotated[float, Field(gt=0, description="Seconds after which a training is stopped.")] = 1800.0
    training_memory: Annotated[ByteSize, Field(ge=1024**3, description="Memory cap of a training's process.")] = (
        ByteSize(4 * 1000**3)
    )

    # Operation
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Least level of log lines on stderr.")
    ] = "info"
    openlineage_url: Annotated[
        str | None,
        Field(
            pattern="^https?://", description="Address of a receiver of OpenLineage events, without `/api/v1/lineage`."
        ),
    ] = None
    openlineage_api_key: Annotated[SecretStr | None, Field(description="What that receiver knows Sluice by.")] = None
    openlineage_namespace: Annotated[
        str, Field(min_length=1, description="The namespace of Sluice's jobs in these events.")
    ] = "sluice"
    canaries: Annotated[
        bool, Field(description="Prove at start and in `/readyz` that filters and masks are in effect.")
    ] = True

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.state_dir.absolute() / 'sluice.db'}"

    @property
    def warehouse(self) -> Path:
        """Where tables that Sluice writes keep their files: inside the lake, never listed as lake files."""
        return self.lake_dir.absolute() / ".warehouse"

    @property
    def secret(self) -> Path:
        return self.secret_file or self.state_dir / "secret"

    @property
    def stack(self) -> Path:
        return self.stack_dir or self.state_dir / "stack"

    @property
    def artefacts(self) -> Path:
        # Elasticsearch runs as another user than root, who can't look into root's own folders.
        return self.stack_cache or (
            Path("/var/cache/sluice") if os.geteuid() == 0 else Path.home() / ".cache" / "sluice"
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load() -> Settings:
    """The settings of this process.

    Raises:
        InvalidSettings: one of them is unknown, or has a value that does not fit.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidSettings(
            f"The setting {name} does not fit: {first['msg']}.",
            hint=f"Correct SLUICE_{name.upper()} in the environment, or {name} in sluice.toml; "
            "docs/settings.md lists every setting.",
        ) from error
    except TOMLDecodeError as error:
        raise InvalidSettings(
            f"sluice.toml can't be read: {error}.", hint="Correct that line: write one name = value a line."
        ) from error
