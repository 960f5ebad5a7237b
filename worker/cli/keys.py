"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from pathlib import Path
from typing import Any

import click

from worker.cli.base import Cli, subcommand
from worker.cli.options import FilePath, group
from worker.cli.output import print_json
from worker.cli.rotate import key_option, kind_option, rotate
from worker.errors import ConfigurationError, ExitCode
from worker.helseid.keys import ClientKey, load_client_key, new_client_key, public_jwk
from worker.helseid.secret_files import write_private_jwk, write_secret

NEW = """Make a key pair for HelseID.

The private key goes to a new file that only its owner can read, the public key is printed for
self-service. `ec` is P-521 with ES512, `rsa` 4096 bits with PS512; HelseID takes both.

`--json`: file, alg, kid, public_jwk.

Example: `pts-worker keys new --out helseid.jwk.json`
"""
PUBLIC = """Print the public key as a JWK.

This, and nothing else, is registered in HelseID's self-service. The output is JSON with and
without `--json`.

Example: `pts-worker keys public --key helseid.jwk.json`
"""
CHECK = """Tell the client key's type, size, algorithm and name; never the key.

`--json`: file, alg, kid, description.

Example: `pts-worker keys check`
"""
PSEUDONYM = """Make the key of the pseudonyms.

32 random bytes in a new file that only its owner can read. Keep a copy in a safe place: without it
no row can be tied to a person.

`--json`: file, bytes.

Example: `pts-worker keys pseudonym --out pseudonym.key`
"""
_PSEUDONYM_BYTES = 32
_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"

command = group(
    "keys", "Make and look at keys. Example: `pts-worker keys new --out helseid.jwk.json`"
)
_out = click.option(
    "--out", type=FilePath(), required=True, help="The new file; never overwritten."
)


@subcommand("new", NEW, of=command)
@_out
@kind_option
def new(cli: Cli, *, out: Path, kind: str) -> int:
    """See ``NEW``."""
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


@subcommand("public", PUBLIC, of=command)
@key_option
def public(cli: Cli, *, key: Path | None) -> int:
    """See ``PUBLIC``."""
    _, loaded = _load(cli, key)
    print_json(loaded.public_jwk())
    return ExitCode.OK


@subcommand("check", CHECK, of=command)
@key_option
def check(cli: Cli, *, key: Path | None) -> int:
    """See ``CHECK``."""
    path, loaded = _load(cli, key)
    document: dict[str, Any] = {
        "file": str(path),
        "alg": loaded.alg,
        "kid": loaded.kid,
        "description": loaded.describe(),
    }
    cli.emit(document, lambda: print(f"{path}: {loaded.describe()}"))
    return ExitCode.OK


command.add_command(rotate)


@subcommand("pseudonym", PSEUDONYM, of=command)
@_out
def pseudonym(cli: Cli, *, out: Path) -> int:
    """See ``PSEUDONYM``."""
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
