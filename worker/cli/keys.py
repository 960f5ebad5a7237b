"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from worker.cli.base import Cli
from worker.cli.output import json_text, print_json
from worker.cli.showing import instant
from worker.errors import ConfigurationError, StoppedError, UsageError
from worker.helseid.key_files import pending_file
from worker.helseid.keys import ClientKey, load_client_key, new_client_key, public_jwk
from worker.helseid.secret_files import write_private_jwk, write_secret
from worker.use_cases.rotate_keys import FINISH, KeyRotation, Kind, Step, rotate_key

_PSEUDONYM_BYTES = 32
_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"


def new(cli: Cli, *, out: Path, kind: str) -> None:
    """Run ``pts-worker keys new``."""
    jwk = new_client_key("rsa" if kind == "rsa" else "ec")
    write_private_jwk(out, jwk)
    public_half = public_jwk(jwk)
    document = {
        "file": str(out),
        "alg": jwk["alg"],
        "kid": jwk["kid"],
        "public_jwk": public_half,
    }
    cli.emit(document, lambda: _print_new(out, public_half))


def public(cli: Cli, *, key: Path | None) -> None:
    """Run ``pts-worker keys public``."""
    _, loaded = _load(cli, key)
    print_json(loaded.public_jwk())


def check(cli: Cli, *, key: Path | None) -> None:
    """Run ``pts-worker keys check``."""
    path, loaded = _load(cli, key)
    document: dict[str, Any] = {
        "file": str(path),
        "alg": loaded.alg,
        "kid": loaded.kid,
        "description": loaded.describe(),
    }
    cli.emit(document, lambda: print(f"{path}: {loaded.describe()}"))


def pseudonym(cli: Cli, *, out: Path) -> None:
    """Run ``pts-worker keys pseudonym``."""
    write_secret(out, secrets.token_bytes(_PSEUDONYM_BYTES))
    cli.emit(
        {"file": str(out), "bytes": _PSEUDONYM_BYTES},
        lambda: print(
            f"{out}: {_PSEUDONYM_BYTES} random bytes, for privacy.pseudonym_key_file. Keep a copy "
            "in a safe place, apart from the database's backup."
        ),
    )


def rotate(
    cli: Cli,
    *,
    key: Path | None,
    kind: Kind,
    by_hand: bool,
    finish: bool,
    wait: timedelta,
) -> None:
    """Run ``pts-worker keys rotate``."""
    if by_hand and finish:
        raise UsageError("--by-hand begins and --finish ends: give one of them")
    if key is not None:
        cli.given.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    step: Step = "by_hand" if by_hand else "finish" if finish else "all"
    try:
        done = cli.run(lambda: rotate_key(app, kind=kind, step=step, wait_s=wait.total_seconds()))
    except (SystemExit, KeyboardInterrupt):
        pending = pending_file(app.path(app.settings.helseid.private_jwk_file or ""))
        if not pending.exists():
            raise
        raise StoppedError(
            f"stopped; the rotation is not finished: the new key is in {pending}",
            hint=f"to finish it, run `pts-worker keys rotate` again, or `{FINISH}` if the new key "
            "is registered; the key in use is unchanged",
        ) from None
    cli.emit(done, lambda: _print_rotation(done))


def _load(cli: Cli, key: Path | None) -> tuple[Path, ClientKey]:
    """The key that is named, or the configured one with what the configuration says of it.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    if key is not None:
        return key, load_client_key(key)
    app = cli.load(None)
    chosen = app.settings.helseid
    if chosen.private_jwk_file is None:
        raise ConfigurationError(
            "helseid.private_jwk_file is not set",
            hint="name a file with --key FILE, or make one with `pts-worker keys new --out FILE`",
        )
    path = app.path(chosen.private_jwk_file)
    return path, load_client_key(path, alg=chosen.private_key_alg, kid=chosen.private_key_kid)


def _print_new(path: Path, public_half: dict[str, str]) -> None:
    print(f"private key: {path} (helseid.private_jwk_file); it never leaves this machine")
    _print_public(public_half)


def _print_public(public_half: Mapping[str, Any]) -> None:
    print(f"public key, to be registered at {_SELF_SERVICE}:")
    print(json_text(public_half), end="")


def _print_rotation(done: KeyRotation) -> None:
    if done.pending_file is not None:
        print(f"new key: {done.pending_file}; {done.file} is unchanged")
        _print_public(done.public_jwk)
        print(f"then: {FINISH}")
        return
    until = f"; it expires {instant(done.expires_at)}" if done.expires_at else ""
    print(f"{done.file}: {done.alg}, kid {done.kid}, accepted by HelseID{until}")
    print(
        f"{done.former_file}: the key before, kid {done.former_kid}. When no run uses it any "
        "more, remove it in self-service and here"
    )
