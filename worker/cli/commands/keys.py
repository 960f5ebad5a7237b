"""``keys``: the client's key pair for HelseID, and the key of the pseudonyms."""

import click

from worker.cli import options

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

PSEUDONYM = """Make the key of the pseudonyms.

32 random bytes in a new file that only its owner can read. Keep a copy in a safe place: without it
no row can be tied to a person.

`--json`: file, bytes.

Example: `pts-worker keys pseudonym --out pseudonym.key`
"""

ROTATE = """Put a new key in the configured key's place, once HelseID accepts it.

Two steps. The first makes a new key beside the configured file (FILE.new, a JWK that its owner
alone can read) and prints its public half. Register that in HelseID's self-service, beside the old
one. Then `--finish` requests a token with the new key, and only when HelseID issues one does it
replace the file, in one step. Owner, group and mode stay; the old key is kept nowhere.

If either step is stopped or killed, the configured file holds the old key or the new one. A run in
progress keeps the key that it began with: leave the old one registered until the run has ended.

`--json`: file, state (pending or rotated), alg, kid, former_kid, pending_file, public_jwk.

Example: `pts-worker keys rotate`, then `pts-worker keys rotate --finish`
"""

command = options.group(
    "keys", "Make and look at keys. Example: `pts-worker keys new --out helseid.jwk.json`"
)

_out = click.option(
    "--out", type=options.NewPath(), required=True, help="The new file; never overwritten."
)

_key = click.option(
    "--key",
    type=options.FilePath(),
    help="The private key's file. Default: helseid.private_jwk_file.",
)

_kind = click.option("--kind", type=click.Choice(["ec", "rsa"]), default="ec", help="ec or rsa.")

options.command("new", NEW, _out, _kind, of=command)

options.command("public", PUBLIC, _key, of=command)

options.command(
    "rotate",
    ROTATE,
    _key,
    _kind,
    click.option("--finish", is_flag=True, help="The new key is registered: put it in place."),
    of=command,
)

options.command("pseudonym", PSEUDONYM, _out, of=command)
