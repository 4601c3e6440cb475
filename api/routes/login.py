"""POST /v1/login: a token for a user and a password."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.auth import Caller, Installed

router = APIRouter(tags=["People"])


class LoginIn(BaseModel):
    """Who wants to come in."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user": "alice", "password": "correct horse battery staple"}]}
    )
    user: str = Field(max_length=128, description="The user's name.")
    password: str = Field(max_length=1024, description="The user's password. It is never stored or logged.")


class LoginOut(BaseModel):
    """A fresh token."""

    token: str = Field(
        description="Send it as `Authorization: Bearer TOKEN`. It is shown only here.",
        examples=["slc_Xk3v9QpL2a_…"],
    )
    expires_at: datetime = Field(description="From then on it is refused.")


@router.post("/v1/login", operation_id="login", summary="Log in")
async def login(body: LoginIn, request: Request, access: Caller, installation: Installed) -> LoginOut:
    """Gives a token for a user and a password. Anybody may ask; too many failures from one address are held up.

    It lasts as long as the server's setting `SLUICE_TOKEN_TTL` says.
    """
    address = request.client.host if request.client else ""

    def work() -> LoginOut:
        access.trail.changing()
        issued = installation.login.login(body.user, body.password, address=address, now=datetime.now(UTC))
        assert issued.expires_at is not None  # noqa: S101 - tokens from login end
        return LoginOut(token=issued.text, expires_at=issued.expires_at)

    return await run_in_threadpool(work)
