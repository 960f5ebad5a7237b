"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worker.cli import options
from worker.cli.output import json_text, print_json
from worker.errors import RefusedError
from worker.files import named_faults, write_new

if TYPE_CHECKING:
    from worker.app import App
    from worker.helseid.keys import ClientKey, KeyFiles

_SELF_SERVICE: Final = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"

_out = click.option(
    "--out", type=options.path, required=True, help="The new file; never overwritten."
)
_key = click.option(
    "--key", type=options.path, help="The private key's file. Default: helseid.private_jwk_file."
)


@click.group("keys", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """Make and look at keys. Example: `pts-worker keys new --out helseid.jwk.json`"""


@command.command("new")
@_out
@click.pass_obj
def new(cli: options.Cli, *, out: Path) -> None:
    """Make a key pair for HelseID: P-521, with ES512.

    The private key goes to a new file that only its owner can read; the public key is printed for
    self-service.

    Example: `pts-worker keys new --out helseid.jwk.json`
    """
    from worker.helseid.keys import new_client_key

    key = new_client_key()
    with named_faults(out):
        write_new(out, key.document())
    said = f"private key: {out} (helseid.private_jwk_file); it never leaves this machine"
    _emit(cli, key, said, file=str(out))


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
@click.option("--finish", is_flag=True, help="The new key is registered: put it in place.")
@click.pass_obj
def rotate(cli: options.Cli, *, key: Path | None, finish: bool) -> None:
    """Put a new key in the configured key's place, once HelseID accepts it.

    The first step makes a new key beside the configured file (FILE.new) and prints its public half.
    Register that in HelseID's self-service, beside the old one. Then `--finish` requests a token
    with the new key, and only when HelseID issues one does it replace the file, in one step; the
    old key is kept nowhere. Leave it registered until no run uses it any more.

    Example: `pts-worker keys rotate`, then `pts-worker keys rotate --finish`
    """
    from worker.helseid.keys import FINISH, KeyFiles, new_client_key

    if key is not None:
        cli.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    former, files = app.client_key(), KeyFiles(Path(app.settings.helseid.private_jwk_file or ""))
    if not finish:
        made = new_client_key()
        files.put_pending(made)
        said = f"new key: {files.pending}; {files.current} is unchanged. Then: `{FINISH}`"
        _emit(cli, made, said, file=str(files.current), state="pending")
        return
    made = cli.run(lambda: _accepted(app, files))
    files.put_in_place()
    said = (
        f"{files.current}: {made.describe()}, accepted by HelseID\n"
        f"when no run uses the old key any more, remove it in self-service: kid {former.kid}"
    )
    document = {"file": str(files.current), "state": "rotated", "public_jwk": made.public_jwk()}
    cli.emit(document | {"former_kid": former.kid}, lambda: print(said))


@command.command("pseudonym")
@_out
@click.pass_obj
def pseudonym(cli: options.Cli, *, out: Path) -> None:
    """Make the pseudonym key, for `privacy.pseudonym_key_file`.

    32 random bytes in a new file that only its owner can read. Keep a copy in a safe place, apart
    from the database's backup: without it, no row can be matched to a person.

    Example: `pts-worker keys pseudonym --out pseudonym.key`
    """
    with named_faults(out):
        write_new(out, new_pseudonym_key())
    cli.emit({"file": str(out)})


def new_pseudonym_key() -> bytes:
    """Random bytes for ``privacy.pseudonym_key_file``."""
    return secrets.token_bytes(32)


async def _accepted(app: "App", files: "KeyFiles") -> "ClientKey":
    """The pending key, for which HelseID has issued a token, as for a run."""
    from worker.helseid.keys import load_client_key

    made = load_client_key(files.pending)
    try:
        async with app.helseid(key=made) as helseid:
            await helseid.tokens.token()
    except RefusedError as error:
        error.hint += f"; the new key is that of `pts-worker keys public --key {files.pending}`"
        raise
    return made


def _emit(cli: options.Cli, key: "ClientKey", said: str, **facts: str) -> None:
    """Print what was done, and the public key with the place where to register it."""
    public_jwk = key.public_jwk()
    text = f"{said}\npublic key, to be registered at {_SELF_SERVICE}:\n{json_text(public_jwk)}"
    cli.emit({**facts, "public_jwk": public_jwk}, lambda: print(text, end=""))
