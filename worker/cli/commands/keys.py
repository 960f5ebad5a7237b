"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.output import json_text, print_json, write_file
from worker.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from worker.app import App
    from worker.helseid.key_files import KeyFiles
    from worker.helseid.keys import ClientKey, KeyKind

_PSEUDONYM_BYTES: Final = 32
_SELF_SERVICE: Final = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"

_out = click.option(
    "--out", type=options.NewPath(), required=True, help="The new file; never overwritten."
)
_key = click.option(
    "--key",
    type=options.FilePath(),
    help="The private key's file. Default: helseid.private_jwk_file.",
)
_kind = click.option("--kind", type=click.Choice(["ec", "rsa"]), default="ec", help="ec or rsa.")


@click.group("keys", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """Make and look at keys. Example: `pts-worker keys new --out helseid.jwk.json`"""


@command.command("new")
@_out
@_kind
@click.pass_obj
def new(cli: options.Cli, *, out: Path, kind: "KeyKind") -> None:
    """Make a key pair for HelseID.

    The private key goes to a new file that only its owner can read; the public key is printed for
    self-service. `ec` is P-521 with ES512, `rsa` is 4096 bits with PS512; HelseID takes both.

    `--json`: file, alg, kid, public_jwk.

    Example: `pts-worker keys new --out helseid.jwk.json`
    """
    from worker.helseid.keys import new_client_key

    key = new_client_key(kind)
    write_file(out, key.document())
    public_half = key.public_jwk()

    def text() -> None:
        print(f"private key: {out} (helseid.private_jwk_file); it never leaves this machine")
        _print_public(public_half)

    document = {"file": str(out), "alg": key.alg, "kid": key.kid, "public_jwk": public_half}
    cli.emit(document, text)


@command.command("public")
@_key
@click.pass_obj
def public(cli: options.Cli, *, key: Path | None) -> None:
    """Print the public key as a JWK.

    Register this, and nothing else, in HelseID's self-service. The output is JSON with or without
    `--json`.

    Example: `pts-worker keys public --key helseid.jwk.json`
    """
    from worker.helseid.keys import load_client_key

    loaded = cli.load(None).client_key() if key is None else load_client_key(key)
    print_json(loaded.public_jwk())


@command.command("rotate")
@_key
@_kind
@click.option("--finish", is_flag=True, help="The new key is registered: put it in place.")
@click.pass_obj
def rotate(cli: options.Cli, *, key: Path | None, kind: "KeyKind", finish: bool) -> None:
    """Put a new key in the configured key's place, once HelseID accepts it.

    The first step makes a new key beside the configured file (FILE.new) and prints its public half.
    Register that in HelseID's self-service, beside the old one. Then `--finish` requests a token
    with the new key, and only when HelseID issues one does it replace the file, in one step; the
    old key is kept nowhere. Leave it registered until no run uses it any more.

    `--json`: file, state (pending or rotated), alg, kid, former_kid, pending_file, public_jwk.

    Example: `pts-worker keys rotate`, then `pts-worker keys rotate --finish`
    """
    from worker.files import is_missing
    from worker.helseid.key_files import KeyFiles
    from worker.helseid.keys import load_client_key, new_client_key

    if key is not None:
        cli.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    former = app.client_key()
    files = KeyFiles(Path(app.settings.helseid.private_jwk_file or ""))
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


@command.command("pseudonym")
@_out
@click.pass_obj
def pseudonym(cli: options.Cli, *, out: Path) -> None:
    """Make the pseudonym key.

    32 random bytes in a new file that only its owner can read. Keep a copy in a safe place: without
    it, no row can be matched to a person.

    `--json`: file, bytes.

    Example: `pts-worker keys pseudonym --out pseudonym.key`
    """
    write_file(out, new_pseudonym_key())
    text = (
        f"{out}: {_PSEUDONYM_BYTES} random bytes, for privacy.pseudonym_key_file. Keep a copy "
        "in a safe place, apart from the database's backup."
    )
    cli.emit({"file": str(out), "bytes": _PSEUDONYM_BYTES}, lambda: print(text))


def new_pseudonym_key() -> bytes:
    """Random bytes for ``privacy.pseudonym_key_file``."""
    return secrets.token_bytes(_PSEUDONYM_BYTES)


async def _require_token(app: "App", files: "KeyFiles", made: "ClientKey") -> None:
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


def _print_public(public_half: Mapping[str, Any]) -> None:
    print(f"public key, to be registered at {_SELF_SERVICE}:")
    print(json_text(public_half), end="")


def _print_rotation(done: Mapping[str, Any]) -> None:
    from worker.helseid.key_files import FINISH

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
