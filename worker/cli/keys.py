"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from pathlib import Path
from typing import Any

from worker.cli.base import Cli
from worker.cli.output import print_json
from worker.errors import ConfigurationError, ExitCode
from worker.helseid.keys import ClientKey, load_client_key, new_client_key, public_jwk
from worker.helseid.secret_files import write_private_jwk, write_secret

_PSEUDONYM_BYTES = 32
_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"


def new(cli: Cli, *, out: Path, kind: str) -> int:
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
    return ExitCode.OK


def public(cli: Cli, *, key: Path | None) -> int:
    """Run ``pts-worker keys public``."""
    _, loaded = _load(cli, key)
    print_json(loaded.public_jwk())
    return ExitCode.OK


def check(cli: Cli, *, key: Path | None) -> int:
    """Run ``pts-worker keys check``."""
    path, loaded = _load(cli, key)
    document: dict[str, Any] = {
        "file": str(path),
        "alg": loaded.alg,
        "kid": loaded.kid,
        "description": loaded.describe(),
    }
    cli.emit(document, lambda: print(f"{path}: {loaded.describe()}"))
    return ExitCode.OK


def pseudonym(cli: Cli, *, out: Path) -> int:
    """Run ``pts-worker keys pseudonym``."""
    write_secret(out, secrets.token_bytes(_PSEUDONYM_BYTES))
    cli.emit(
        {"file": str(out), "bytes": _PSEUDONYM_BYTES},
        lambda: print(
            f"{out}: {_PSEUDONYM_BYTES} random bytes, for privacy.pseudonym_key_file. Keep a copy "
            "in a safe place, apart from the database's backup."
        ),
    )
    return ExitCode.OK


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
    print(f"public key, to be registered at {_SELF_SERVICE}:", flush=True)
    print_json(public_half)
