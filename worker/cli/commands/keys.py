"""``keys``: the client's key pair for HelseID, and the pseudonym key."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worker.cli import options
from worker.cli.output import print_json
from worker.errors import ConfigurationError, RefusedError
from worker.files import convert_write_errors, is_missing, write_new

if TYPE_CHECKING:
    from worker.app import App
    from worker.helseid.keys import ClientKey, KeyFiles

_NEXT: Final = (
    "register public_jwk at https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"
)
_FIRST: Final = "run `pts-worker keys rotate` first, without --finish"
_out = click.option(
    "--out", type=options.path, required=True, help="The new file; never overwritten."
)


@click.group("keys", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """Make and show keys. The output is always JSON.

    Example: `pts-worker keys new --out helseid.jwk.json`
    """


@command.command("new")
@_out
def new(*, out: Path) -> None:
    """Make a key pair for HelseID: P-521, with ES512.

    The private key goes to a new file that only its owner can read. The public key is printed:
    register it in self-service.

    Example: `pts-worker keys new --out helseid.jwk.json`
    """
    from worker.helseid.keys import new_client_key

    key = new_client_key()
    with convert_write_errors(out):
        write_new(out, key.document())
    print_json({"file": out, "public_jwk": key.public_jwk(), "next": _NEXT})


@command.command("public")
@click.pass_obj
def public(cli: options.Cli) -> None:
    """Print the public key as a JWK.

    Register this, and nothing else, in HelseID's self-service.

    Example: `pts-worker keys public --set helseid.private_jwk_file=helseid.jwk.json`
    """
    print_json(cli.load(None).client_key().public_jwk())


@command.command("rotate")
@click.option("--finish", is_flag=True, help="The new key is registered: put it in place.")
@click.pass_obj
def rotate(cli: options.Cli, *, finish: bool) -> None:
    """Replace the client's key, after HelseID accepts the new one.

    The first step makes a new key beside the configured file (FILE.new) and prints its public key.
    Register that in HelseID's self-service, beside the old one. Then `--finish` requests a token
    with the new key. If HelseID issues one, the new file replaces the old one. The old private key
    is not kept. Leave the old key registered until no run uses it.

    Example: `pts-worker keys rotate`, then `pts-worker keys rotate --finish`
    """
    from worker.helseid.keys import FINISH, KeyFiles, new_client_key

    app = cli.load("helseid")
    old_key, files = app.client_key(), KeyFiles(Path(app.settings.helseid.private_jwk_file or ""))
    if not finish:
        new_key = new_client_key()
        files.put_pending(new_key)
        document = {"file": files.pending, "state": "pending", "public_jwk": new_key.public_jwk()}
        print_json(document | {"next": f"{_NEXT}, then `{FINISH}`"})
        return
    # HelseID first: a key that it rejects must not replace one that works.
    new_key = cli.run(lambda: _accepted(app, files))
    files.put_in_place()
    document = {"file": files.current, "state": "rotated", "public_jwk": new_key.public_jwk()}
    step = "when no run uses the old key any more, remove it in self-service"
    print_json(document | {"former_kid": old_key.kid, "next": step})


@command.command("pseudonym")
@_out
def pseudonym(*, out: Path) -> None:
    """Make the pseudonym key, for `privacy.pseudonym_key_file`.

    32 random bytes in a new file that only its owner can read. Keep a copy in a safe place, apart
    from the database's backup: without it, no row can be matched to a person.

    Example: `pts-worker keys pseudonym --out pseudonym.key`
    """
    with convert_write_errors(out):
        write_new(out, secrets.token_bytes(32))
    print_json({"file": out})


async def _accepted(app: "App", files: "KeyFiles") -> "ClientKey":
    """Return the pending key, after HelseID issued a token for it."""
    from worker.helseid.keys import load_client_key, public_call

    if is_missing(files.pending):
        raise ConfigurationError(f"there is no file {files.pending}", hint=_FIRST)
    new_key = load_client_key(files.pending)
    try:
        async with app.helseid(key=new_key) as helseid:
            await helseid.tokens.token()
    except RefusedError as error:
        error.hint += f"; `{public_call(files.pending)}` prints the new key"
        raise
    return new_key
