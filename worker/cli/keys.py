"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.app import App
from worker.cli.base import Cli
from worker.cli.output import json_text, print_json
from worker.errors import ConfigurationError, RefusedError
from worker.files import is_missing, write_new
from worker.helseid.key_files import FINISH, KeyFiles
from worker.helseid.keys import ClientKey, KeyKind, load_client_key, new_client_key

_PSEUDONYM_BYTES = 32
_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"


def new(cli: Cli, *, out: Path, kind: KeyKind) -> None:
    """Run ``pts-worker keys new``."""
    key = new_client_key(kind)
    _write_secret(out, key.document())
    public_half = key.public_jwk()
    document = {"file": str(out), "alg": key.alg, "kid": key.kid, "public_jwk": public_half}
    cli.emit(document, lambda: _print_new(out, public_half))


def public(cli: Cli, *, key: Path | None) -> None:
    """Run ``pts-worker keys public``."""
    loaded = cli.load(None).client_key() if key is None else load_client_key(key)
    print_json(loaded.public_jwk())


def pseudonym(cli: Cli, *, out: Path) -> None:
    """Run ``pts-worker keys pseudonym``."""
    _write_secret(out, secrets.token_bytes(_PSEUDONYM_BYTES))
    cli.emit(
        {"file": str(out), "bytes": _PSEUDONYM_BYTES},
        lambda: print(
            f"{out}: {_PSEUDONYM_BYTES} random bytes, for privacy.pseudonym_key_file. Keep a copy "
            "in a safe place, apart from the database's backup."
        ),
    )


def rotate(cli: Cli, *, key: Path | None, kind: KeyKind, finish: bool) -> None:
    """Run ``pts-worker keys rotate``."""
    if key is not None:
        cli.given.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    _refuse_named(app)
    former = app.client_key()
    files = KeyFiles(app.path(app.settings.helseid.private_jwk_file or ""))
    files.require_own_folder()
    if finish:
        if is_missing(files.pending):
            raise ConfigurationError(
                f"no new key is pending: {files.pending} does not exist",
                hint=f"the key in use is {former.describe()}; begin with `pts-worker keys rotate`",
            )
        made = load_client_key(files.pending)
        cli.run(lambda: _require_token(app, files, made))
        files.put_in_place()
    else:
        made = new_client_key(kind)
        files.put_pending(made)
    document = {
        "file": str(files.current),
        "state": "rotated" if finish else "pending",
        "alg": made.alg,
        "kid": made.kid,
        "former_kid": former.kid,
        "pending_file": None if finish else str(files.pending),
        "public_jwk": made.public_jwk(),
    }
    cli.emit(document, lambda: _print_rotation(document))


def _write_secret(path: Path, content: bytes) -> None:
    """Write a secret to a new file with mode 0600.

    Raises:
        ConfigurationError: the file already exists (it is not overwritten) or cannot be written.
    """
    try:
        write_new(path, content)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} already exists", hint="keys are never overwritten; choose another file name"
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"cannot write {path.absolute()}: {reason}",
            hint="make the folder, or name a file in another one",
        ) from None


def _refuse_named(app: App) -> None:
    """Refuse settings that describe the old key and would apply to the new one.

    Raises:
        ConfigurationError: there is one.
    """
    for name in ("private_key_kid", "private_key_alg"):
        if getattr(app.settings.helseid, name) is not None:
            raise ConfigurationError(
                f"helseid.{name} is set and would apply to the new key as well",
                hint="write it as 'kid' or 'alg' into the key file, a JWK, and remove the setting",
            )


async def _require_token(app: App, files: KeyFiles, made: ClientKey) -> None:
    """Let HelseID issue a token for the new key, as for a run.

    Raises:
        RefusedError: it does not.
        UnavailableError: it cannot be reached.
    """
    try:
        async with app.helseid(key=made) as helseid:
            await helseid.tokens.token()
    except RefusedError as error:
        remedy = error.hint
        if error.code == "invalid_client":
            remedy = (
                f"register what `pts-worker keys public --key {files.pending}` prints at "
                f"{_SELF_SERVICE}; HelseID knows a new key after up to a minute"
            )
        raise RefusedError(
            f"HelseID issues no token for the new key: {error.message}",
            code=error.code,
            hint=f"{remedy}. {files.current} is unchanged",
        ) from None


def _print_new(path: Path, public_half: Mapping[str, Any]) -> None:
    print(f"private key: {path} (helseid.private_jwk_file); it never leaves this machine")
    _print_public(public_half)


def _print_public(public_half: Mapping[str, Any]) -> None:
    print(f"public key, to be registered at {_SELF_SERVICE}:")
    print(json_text(public_half), end="")


def _print_rotation(done: Mapping[str, Any]) -> None:
    if done["state"] == "pending":
        print(f"new key: {done['pending_file']}; {done['file']} is unchanged")
        _print_public(done["public_jwk"])
        print(f"then: {FINISH}")
        return
    print(f"{done['file']}: {done['alg']}, kid {done['kid']}, accepted by HelseID")
    print(
        f"when no run uses the key before any more, remove it in self-service: "
        f"kid {done['former_kid']}"
    )
