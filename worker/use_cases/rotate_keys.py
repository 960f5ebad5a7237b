"""``keys rotate``: replaces the configured client key with a new one that HelseID accepts.

The configured file holds a working key at every moment. A call that was stopped or killed is
continued by the next one.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain, repeat
from typing import Any, Literal, TypeAlias

import msgspec
import structlog
from msgspec.structs import replace

from worker.app import App
from worker.core.value import Value
from worker.errors import ConfigurationError, RefusedError
from worker.helseid.authorizer import HelseId, open_helseid
from worker.helseid.key_files import KeyFiles, key_files
from worker.helseid.keys import ClientKey, KeyHints, load_client_key, new_client_key
from worker.helseid.self_service import OPTIONS, SCOPE, SCOPE_REFUSALS, SelfService

log = structlog.get_logger(__name__)

Kind: TypeAlias = Literal["ec", "rsa"]
Step: TypeAlias = Literal["all", "by_hand", "finish"]
"""``by_hand`` only makes the key; ``finish`` continues when it is registered."""

FINISH = "pts-worker keys rotate --finish"
_NOT_THIS_CLIENT = "invalid_client"
"""HelseID's error code for a key that it does not accept, or not yet, or no longer."""
_POLL_S = (1.0, 2.0, 4.0, 8.0)
"""Waits between attempts; the last one repeats."""


class KeyRotation(Value, frozen=True, kw_only=True):
    """The state of a rotation.

    Attributes:
        file: the configured key file.
        state: ``pending`` until the file is replaced.
        alg, kid: of the new key.
        former_kid: of the key before.
        registered: HelseID's self-service has confirmed the registration.
        expires_at: when the registration expires, if self-service says so.
        pending_file: the new key, until the file is replaced.
        former_file: the key before, after that.
    """

    file: str
    state: Literal["pending", "rotated"]
    alg: str
    kid: str
    former_kid: str
    registered: bool
    expires_at: datetime | None
    pending_file: str | None
    former_file: str | None
    public_jwk: Mapping[str, Any]


async def rotate_key(
    app: App,
    *,
    kind: Kind,
    step: Step,
    wait_s: float,
) -> KeyRotation:
    """Make a new key, register it, and replace the configured file once HelseID accepts it.

    Args:
        step: all of it, or the part before or after a registration by hand.
        wait_s: how long HelseID may take to know the new key.

    Raises:
        ConfigurationError: no new key is pending, or a key file or setting cannot be used.
        RefusedError: HelseID does not accept the new key, or lets no client change its keys.
        UnavailableError: HelseID cannot be reached.
    """
    _refuse_named(app)
    with key_files(app.path(app.settings.helseid.private_jwk_file or "")) as files:
        change = _begin(app, files, kind, may_make=step != "finish")
        if step != "by_hand":
            change = await _register_and_switch(
                change, is_registered=step == "finish", wait_s=wait_s
            )
        return change.result()


class _Change(Value, frozen=True, kw_only=True):
    """One rotation, as far as it has come."""

    app: App
    files: KeyFiles
    old: ClientKey
    new: ClientKey
    state: Literal["pending", "rotated"] = "pending"
    may_be_registered: bool = False
    """An earlier call made the new key; it may have registered it and not come to its end."""
    is_old_refused: bool = False
    is_registered: bool = False
    expires_at: datetime | None = None

    def result(self) -> KeyRotation:
        is_pending = self.state == "pending"
        return KeyRotation(
            file=str(self.files.current),
            state=self.state,
            alg=self.new.alg,
            kid=self.new.kid,
            former_kid=self.old.kid,
            registered=self.is_registered,
            expires_at=self.expires_at,
            pending_file=str(self.files.pending) if is_pending else None,
            former_file=None if is_pending else str(self.files.former),
            public_jwk=self.new.public_jwk(),
        )


def _refuse_named(app: App) -> None:
    """Refuse settings that describe the old key and would apply to the new one.

    Raises:
        ConfigurationError: there is one.
    """
    chosen = app.settings.helseid
    for name in ("private_key_kid", "private_key_alg"):
        if getattr(chosen, name) is not None:
            raise ConfigurationError(
                f"helseid.{name} is set and would apply to the new key as well",
                hint="write it as 'kid' or 'alg' into the key file, a JWK, and remove the setting",
            )


def _begin(app: App, files: KeyFiles, kind: str, *, may_make: bool) -> _Change:
    """The old key, and the new one: pending from an earlier call, or made now.

    Raises:
        ConfigurationError: none is pending and none may be made, or a file cannot be used.
    """
    old = load_client_key(files.current)
    was_pending = files.has_pending()
    if not was_pending:
        if not may_make:
            raise ConfigurationError(
                f"no new key is pending: {files.pending} does not exist",
                hint=f"the key in use is {old.describe()}; begin with `pts-worker keys rotate`",
            )
        hints = KeyHints(client_id=old.client_id_hint, issuer=old.issuer_hint)
        files.put_pending(new_client_key("rsa" if kind == "rsa" else "ec"), hints)
    new = load_client_key(files.pending)
    return _Change(app=app, files=files, old=old, new=new, may_be_registered=was_pending)


async def _register_and_switch(change: _Change, *, is_registered: bool, wait_s: float) -> _Change:
    """Register the new key if necessary, wait until HelseID accepts it, and replace the file."""
    async with _clients(change) as client_with:
        if not is_registered:
            change = await _registered(change, client_with)
        await _accepted(change, client_with, wait_s)
    change.files.switch()
    return replace(change, state="rotated")


_ClientWith = Callable[..., HelseId]


@asynccontextmanager
async def _clients(change: _Change) -> AsyncIterator[_ClientWith]:
    """Makes clients that authenticate with one key or the other; discovery is read once."""
    options = change.app.helseid_options(change.old)
    discovery: Any = None

    async with change.app.helseid_http(options) as http:

        def client_with(key: ClientKey, **more: Any) -> HelseId:
            nonlocal discovery
            chosen = msgspec.structs.replace(options, **more)
            made = open_helseid(chosen, key, change.app.runtime, http, discovery=discovery)
            discovery = made.discovery
            return made

        yield client_with


async def _registered(change: _Change, client_with: _ClientWith) -> _Change:
    """Register the new key with HelseID's self-service, unless only the new one is accepted by now.

    Raises:
        RefusedError: the client may not change its keys.
        ConfigurationError: ``helseid.self_service_url`` is not set.
    """
    by_hand = (
        f"the new key is in {change.files.pending}: register what `pts-worker keys rotate "
        f"--by-hand` prints, then `{FINISH}`"
    )
    url = change.app.settings.helseid.self_service_url
    if url is None:
        raise ConfigurationError("helseid.self_service_url is not set", hint=f"or {by_hand}")
    service = SelfService(url, client_with(change.old, **OPTIONS))
    try:
        for known in await service.keys():
            if change.new.kid in {known.kid, known.thumbprint}:
                return replace(change, is_registered=True, expires_at=known.expires_at)
        change = replace(change, may_be_registered=True)
        expires_at = await service.register(change.new.public_jwk())
    except RefusedError as error:
        if error.code == _NOT_THIS_CLIENT and change.may_be_registered:
            return replace(change, is_old_refused=True)
        if error.code not in SCOPE_REFUSALS:
            raise
        raise RefusedError(
            f"this client may not change its own keys: {error.message}",
            code=error.code,
            hint=f"give it the scope {SCOPE} in self-service; or {by_hand}",
        ) from None
    return replace(change, is_registered=True, expires_at=expires_at)


async def _accepted(change: _Change, client_with: _ClientWith, wait_s: float) -> None:
    """Wait until HelseID issues a token for the new key, as a run would request it.

    Raises:
        RefusedError: it does not within ``wait_s``.
    """
    runtime = change.app.runtime
    tokens = client_with(change.new).tokens
    end_s = runtime.monotonic() + wait_s
    for number, pause_s in enumerate(chain(_POLL_S, repeat(_POLL_S[-1]))):
        try:
            await tokens.token()
        except RefusedError as error:
            if error.code == _NOT_THIS_CLIENT and runtime.monotonic() + pause_s <= end_s:
                if not number:
                    log.info("key_rotation.waiting", kid=change.new.kid, wait_s=wait_s)
                await runtime.sleep(pause_s)
                continue
            refuses = (
                "HelseID accepts neither the key in use nor the new one"
                if change.is_old_refused
                else "HelseID does not accept the new key yet"
            )
            raise RefusedError(
                f"{refuses}: {error.message}",
                code=error.code,
                hint=f"{change.files.current} is unchanged, the new key is in "
                f"{change.files.pending}; when it is registered: `{FINISH}`",
            ) from None
        return
