"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli import rotate
from worker.cli.base import Cli, add_command, print_json

if TYPE_CHECKING:
    from worker.helseid.keys import ClientKey

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

OutOption = Annotated[Path, typer.Option("--out", help="The new file; never overwritten.")]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="The private key's file. Default: helseid.private_jwk_file."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Make and look at keys. Example: `pts-worker keys new --out helseid.jwk.json`",
    )
    add_command(group, "new", new, NEW)
    add_command(group, "public", public, PUBLIC)
    add_command(group, "check", check, CHECK)
    rotate.register(group)
    add_command(group, "pseudonym", pseudonym, PSEUDONYM)
    app.add_typer(group, name="keys")


def new(
    cli: Cli,
    *,
    out: OutOption,
    kind: Annotated[str, typer.Option("--kind", help="ec or rsa.")] = "ec",
) -> int:
    """See ``NEW``."""
    from worker.errors import ExitCode, UsageError
    from worker.helseid.keys import new_client_key, public_jwk
    from worker.helseid.secret_files import write_private_jwk

    if kind not in {"ec", "rsa"}:
        raise UsageError("--kind is ec or rsa")
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


def public(cli: Cli, *, key: KeyOption = None) -> int:
    """See ``PUBLIC``."""
    from worker.errors import ExitCode

    _, loaded = _load(cli, key)
    print_json(loaded.public_jwk())
    return ExitCode.OK


def check(cli: Cli, *, key: KeyOption = None) -> int:
    """See ``CHECK``."""
    from worker.errors import ExitCode

    path, loaded = _load(cli, key)
    document: dict[str, Any] = {
        "file": str(path),
        "alg": loaded.alg,
        "kid": loaded.kid,
        "description": loaded.describe(),
    }
    cli.emit(document, lambda: print(f"{path}: {loaded.describe()}"))
    return ExitCode.OK


def pseudonym(cli: Cli, *, out: OutOption) -> int:
    """See ``PSEUDONYM``."""
    from worker.errors import ExitCode
    from worker.helseid.secret_files import write_secret

    write_secret(out, secrets.token_bytes(_PSEUDONYM_BYTES))
    cli.emit(
        {"file": str(out), "bytes": _PSEUDONYM_BYTES},
        lambda: print(
            f"{out}: {_PSEUDONYM_BYTES} random bytes, for privacy.pseudonym_key_file. Keep a copy "
            "in a safe place, apart from the database's backup."
        ),
    )
    return ExitCode.OK


def _load(cli: Cli, key: Path | None) -> "tuple[Path, ClientKey]":
    """The key that is named, or the configured one with what the configuration says of it.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    from worker.helseid.keys import load_client_key

    if key is not None:
        return key, load_client_key(key)
    from worker.errors import ConfigurationError

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
