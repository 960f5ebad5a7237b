"""``keys rotate``: another client key in the place of the one that is configured."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog

from worker.app import App
from worker.cli.base import Cli, subcommand
from worker.cli.options import DURATION, FilePath
from worker.cli.output import print_json
from worker.cli.showing import instant
from worker.errors import ConfigurationError, ExitCode, RefusedError, UsageError
from worker.helseid.authorizer import HelseId, open_helseid
from worker.helseid.key_files import KeyFiles, key_files
from worker.helseid.keys import ClientKey, KeyHints, load_client_key, new_client_key
from worker.helseid.self_service import SCOPE, SCOPE_REFUSALS, SelfService

log = structlog.get_logger(__name__)

HELP = """Put a new key in the configured key's place, once HelseID accepts it.

A new key pair is made beside the configured file (FILE.new, its owner's alone), its public half is
registered through HelseID's self-service API, and when a token was given for it the file is
replaced in one step; the key before stays in FILE.old. That needs the scope
nhn:selvbetjening/client and helseid.self_service_url.

Without them, `--by-hand` makes the key and prints its public half; when you have registered that in
self-service, `--finish` asks for a token with it and replaces the file.

The configured file holds a working key at every moment. What was stopped or killed is continued by
the next call. A run that is on goes on with the key that it began with: leave the old key
registered until it has ended.

`--json`: file, state (pending or rotated), alg, kid, former_kid, registered (whether self-service
told so), expires_at, pending_file, former_file, public_jwk.

Example: `pts-worker keys rotate`

Example: `pts-worker keys rotate --by-hand`, then `pts-worker keys rotate --finish`
"""
_WAIT = "2m"
"""HelseID's test environment knows a new key after some 20 s (HelseID reference, section 4)."""
_POLL_S = (1.0, 2.0, 4.0, 8.0)
"""Waits between questions; the last again and again."""
_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"
_FINISH = "pts-worker keys rotate --finish"

key_option = click.option(
    "--key",
    type=FilePath(),
    help="The private key's file. Default: helseid.private_jwk_file.",
)
kind_option = click.option(
    "--kind", type=click.Choice(["ec", "rsa"]), default="ec", help="ec or rsa."
)


@subcommand("rotate", HELP)
@key_option
@kind_option
@click.option("--by-hand", is_flag=True, help="Make the key, and leave its registration to you.")
@click.option("--finish", is_flag=True, help="The new key is registered: put it in place.")
@click.option(
    "--wait", type=DURATION, default=_WAIT, help="How long HelseID may take to know the new key."
)
def rotate(
    cli: Cli, *, key: Path | None, kind: str, by_hand: bool, finish: bool, wait: timedelta
) -> int:
    """See ``HELP``."""
    if by_hand and finish:
        raise UsageError("--by-hand begins and --finish ends: give one of them")
    if key is not None:
        cli.given.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    _refuse_named(app)
    with key_files(app.path(app.settings.helseid.private_jwk_file or "")) as files:
        change = _begin(app, files, kind, may_make=not finish)
        if not by_hand:
            change = cli.run(
                lambda: _carry_out(change, is_registered=finish, wait_s=wait.total_seconds())
            )
    cli.emit(change.document(), change.tell)
    return ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One change of keys, as far as it has come."""

    app: App
    files: KeyFiles
    old: ClientKey
    new: ClientKey
    state: str = "pending"
    is_registered: bool = False
    expires_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        is_pending = self.state == "pending"
        return {
            "file": str(self.files.current),
            "state": self.state,
            "alg": self.new.alg,
            "kid": self.new.kid,
            "former_kid": self.old.kid,
            "registered": self.is_registered,
            "expires_at": self.expires_at,
            "pending_file": str(self.files.pending) if is_pending else None,
            "former_file": None if is_pending else str(self.files.former),
            "public_jwk": self.new.public_jwk(),
        }

    def tell(self) -> None:
        if self.state == "pending":
            print(f"new key: {self.files.pending}; {self.files.current} is as it was")
            print(f"public key, to be registered at {_SELF_SERVICE}:", flush=True)
            print_json(self.new.public_jwk())
            print(f"then: {_FINISH}")
            return
        until = f"; it expires {instant(self.expires_at)}" if self.expires_at else ""
        print(f"{self.files.current}: {self.new.describe()}, accepted by HelseID{until}")
        print(
            f"{self.files.former}: the key before, kid {self.old.kid}. When no run uses it any "
            "more, remove it in self-service and here"
        )


def _refuse_named(app: App) -> None:
    """The configuration's name for the old key would be the new one's too.

    Raises:
        ConfigurationError: it has one.
    """
    chosen = app.settings.helseid
    for name in ("private_key_kid", "private_key_alg"):
        if getattr(chosen, name) is not None:
            raise ConfigurationError(
                f"helseid.{name} is set, and would be said of the new key too",
                hint="put it as 'kid' or 'alg' into the key's file, a JWK, and take it out of the "
                "configuration",
            )


def _begin(app: App, files: KeyFiles, kind: str, *, may_make: bool) -> _Change:
    """The old key, and the new one: an earlier call's that was not finished, or made now.

    Raises:
        ConfigurationError: there is no new one and none may be made, or a file cannot be used.
    """
    old = load_client_key(files.current)
    if not files.has_pending():
        if not may_make:
            raise ConfigurationError(
                f"no new key waits: {files.pending} is not there",
                hint=f"the key in use is {old.describe()}; begin with `pts-worker keys rotate`",
            )
        hints = KeyHints(client_id=old.client_id_hint, issuer=old.issuer_hint)
        files.put_pending(new_client_key("rsa" if kind == "rsa" else "ec"), hints)
    return _Change(app=app, files=files, old=old, new=load_client_key(files.pending))


async def _carry_out(change: _Change, *, is_registered: bool, wait_s: float) -> _Change:
    """Register the new key unless that is done, see HelseID accept it, and put it in place."""
    async with _clients(change) as client_with:
        if not is_registered:
            change = await _registered(change, client_with)
        await _accepted(change, client_with, wait_s)
    change.files.switch()
    return dataclasses.replace(change, state="rotated")


_ClientWith = Callable[..., HelseId]


@asynccontextmanager
async def _clients(change: _Change) -> AsyncIterator[_ClientWith]:
    """Clients that prove themselves with one key or the other; HelseID describes itself once."""
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
    """The new key among the client's at HelseID.

    Raises:
        RefusedError: the client may not change its keys.
        ConfigurationError: it is not known where.
    """
    by_hand = (
        f"the new key waits in {change.files.pending}: register what `pts-worker keys rotate "
        f"--by-hand` prints, then `{_FINISH}`"
    )
    url = change.app.settings.helseid.self_service_url
    if url is None:
        raise ConfigurationError("helseid.self_service_url is not set", hint=f"or {by_hand}")
    helseid = client_with(
        change.old, scope=SCOPE, sender_constraint="dpop", grant="client_credentials"
    )
    service = SelfService(url, helseid)
    try:
        for known in await service.keys():
            if change.new.kid in {known.kid, known.thumbprint}:
                return dataclasses.replace(change, is_registered=True, expires_at=known.expires_at)
        expires_at = await service.register(change.new.public_jwk())
    except RefusedError as error:
        if error.code not in SCOPE_REFUSALS:
            raise
        raise RefusedError(
            f"this client may not change its own keys: {error.message}",
            code=error.code,
            hint=f"give it the scope {SCOPE} in self-service; or {by_hand}",
        ) from None
    return dataclasses.replace(change, is_registered=True, expires_at=expires_at)


async def _accepted(change: _Change, client_with: _ClientWith, wait_s: float) -> None:
    """See that HelseID gives a token for the new key, as a run would ask for it.

    Raises:
        RefusedError: it does not, after ``wait_s`` either.
    """
    runtime = change.app.runtime
    tokens = client_with(change.new).tokens
    end_s = runtime.monotonic() + wait_s
    for number, pause_s in enumerate(chain(_POLL_S, repeat(_POLL_S[-1]))):
        try:
            await tokens.token()
        except RefusedError as error:
            if error.code == "invalid_client" and runtime.monotonic() + pause_s <= end_s:
                if not number:
                    log.info("key_rotation.waiting", kid=change.new.kid, wait_s=wait_s)
                await runtime.sleep(pause_s)
                continue
            raise RefusedError(
                f"HelseID does not accept the new key yet: {error.message}",
                code=error.code,
                hint=f"{change.files.current} is as it was, the new key waits in "
                f"{change.files.pending}; when it is registered: `{_FINISH}`",
            ) from None
        return
