"""``keys rotate``: replaces the configured client key with a new one."""

from datetime import timedelta
from pathlib import Path

import click

from worker.cli.base import Cli, subcommand
from worker.cli.options import DURATION, FilePath
from worker.cli.output import print_json
from worker.cli.showing import instant
from worker.errors import ExitCode, UsageError
from worker.use_cases.rotate_keys import FINISH, KeyRotation, Kind, Step, rotate_key

HELP = """Put a new key in the configured key's place, once HelseID accepts it.

Makes a new key pair beside the configured file (FILE.new, readable by its owner only), registers
its public half through HelseID's self-service API, waits until HelseID issues a token for it, and
then replaces the file in one step. The old key is kept in FILE.old. This needs the scope
nhn:selvbetjening/client and helseid.self_service_url.

Without them, `--by-hand` makes the key and prints its public half. Register that in self-service;
then `--finish` requests a token with it and replaces the file.

The configured file holds a working key at every moment. If this command is stopped or killed, the
next call continues. A run in progress keeps the key that it began with: leave the old key
registered until the run has ended.

`--json`: file, state (pending or rotated), alg, kid, former_kid, registered (confirmed by
self-service), expires_at, pending_file, former_file, public_jwk.

Example: `pts-worker keys rotate`

Example: `pts-worker keys rotate --by-hand`, then `pts-worker keys rotate --finish`
"""
_WAIT = "2m"
"""HelseID's test environment knows a new key after some 20 s (HelseID reference, section 4)."""
_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"

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
    cli: Cli,
    *,
    key: Path | None,
    kind: Kind,
    by_hand: bool,
    finish: bool,
    wait: timedelta,
) -> int:
    """See ``HELP``."""
    if by_hand and finish:
        raise UsageError("--by-hand begins and --finish ends: give one of them")
    if key is not None:
        cli.given.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    step: Step = "by_hand" if by_hand else "finish" if finish else "all"
    done = cli.run(lambda: rotate_key(app, kind=kind, step=step, wait_s=wait.total_seconds()))
    cli.emit(done, lambda: _print(done))
    return ExitCode.OK


def _print(done: KeyRotation) -> None:
    if done.pending_file is not None:
        print(f"new key: {done.pending_file}; {done.file} is unchanged")
        print(f"public key, to be registered at {_SELF_SERVICE}:", flush=True)
        print_json(done.public_jwk)
        print(f"then: {FINISH}")
        return
    until = f"; it expires {instant(done.expires_at)}" if done.expires_at else ""
    print(f"{done.file}: {done.alg}, kid {done.kid}, accepted by HelseID{until}")
    print(
        f"{done.former_file}: the key before, kid {done.former_kid}. When no run uses it any "
        "more, remove it in self-service and here"
    )
