"""TLS: what basic authentication takes, and Harlequin, which knows no other way."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import trino
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.server import tls_options
from infra.errors import InvalidSettings
from infra.settings import Settings
from tests.clients.conftest import ENGINES, ROOT, Door, opened, run

HARLEQUIN = ROOT / ".clients" / "harlequin" / "bin" / "python"
BROWSE = """
import json, sys
from harlequin_trino.adapter import HarlequinTrinoAdapter

port, token, certificate = sys.argv[1:]
options = {"host": "127.0.0.1", "port": port, "user": "alice", "password": token, "sslcert": certificate}
connection = HarlequinTrinoAdapter(require_auth="password", **options).connect()
catalog = {
    lake.label: {schema.label: [table.label for table in schema.children] for schema in lake.children}
    for lake in connection.get_catalog().items
}
cursor = connection.execute("SELECT country, count(*) AS n FROM lake.raw.transactions GROUP BY 1")
print(json.dumps({"catalog": catalog, "columns": cursor.columns(), "rows": cursor.fetchall()}))
"""


@pytest.fixture(autouse=True)
def own_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests prefers the environment's certificates to those that a client names."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module", params=ENGINES)
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pem: tuple[Path, Path]
) -> Iterator[Door]:
    """The door, over TLS."""
    with opened(request, tmp_path_factory.mktemp("secure"), tls_cert=pem[0], tls_key=pem[1]) as door:
        yield door


def test_a_password_is_a_token(secure: Door, pem: tuple[Path, Path]) -> None:
    def count(token: str) -> object:
        with trino.dbapi.connect(
            host="127.0.0.1",
            port=secure.port,
            http_scheme="https",
            verify=str(pem[0]),
            user="alice",
            auth=trino.auth.BasicAuthentication("alice", token),
        ) as connection:
            return connection.cursor().execute("SELECT count(*) FROM lake.raw.transactions").fetchone()

    assert count(secure.token) == [15]
    with pytest.raises(trino.exceptions.HttpError, match="401"):
        count(secure.token[:-1] + "x")


def test_harlequin_browses_and_reads(secure: Door, pem: tuple[Path, Path]) -> None:
    assert HARLEQUIN.exists(), "make test installs it; without it: make .clients/harlequin/installed"
    found = orjson.loads(run(HARLEQUIN, "-c", BROWSE, str(secure.port), secure.token, pem[0]))
    assert list(found["catalog"]) == ["lake"]
    assert found["catalog"]["lake"] == {"raw": ["transactions"]}
    assert found["columns"] == [["country", "t"], ["n", "##"]]
    assert found["rows"] == [["FR", 15]]


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
def test_a_certificate_needs_its_key(pem: tuple[Path, Path], missing: str) -> None:
    both = {"tls_cert": pem[0], "tls_key": pem[1]}
    assert tls_options(Settings(**both)) == {"ssl_certfile": pem[0], "ssl_keyfile": pem[1]}
    assert tls_options(Settings()) == {}
    with pytest.raises(InvalidSettings):
        tls_options(Settings(**{**both, missing: None}))
    with pytest.raises(InvalidSettings):
        tls_options(Settings(**{**both, missing: Path("nowhere.pem")}))
