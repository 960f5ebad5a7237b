"""Commands and options that this program once had, and where what they did has gone."""

from collections.abc import Mapping
from typing import Final

import click

_KEYS: Final = {
    "--base-url": "api.base_url",
    "--issuer": "helseid.issuer",
    "--concurrency": "sync.concurrency",
    "--requests-per-second": "sync.requests_per_second",
    "--deadline": "sync.deadline",
}
GONE: Final[Mapping[str, str]] = {
    "help": "`help` is gone: `pts-worker COMMAND --help` shows the help of a command.",
    "verify": "`verify` is gone: every `pts-worker sync` reads everybody and compares.",
    "plan": "`plan` is gone: its figures are in the roster line of `pts-worker doctor`.",
    "--by-hand": "`--by-hand` is gone: `pts-worker keys rotate` only makes the key. Register "
    "it in self-service, then call `pts-worker keys rotate --finish`.",
    "db restore": "`db restore` is gone: copy the file back, as docs/database.md shows.",
    "keys check": "`keys check` is gone: the line `key` of `pts-worker doctor` says type and name.",
    "config schema": "`config schema` is gone: the file of `pts-worker init` describes every key.",
    "failures retry": "`failures retry` is gone: `pts-worker backfill --failed` does the same.",
    "failures purge": "`failures purge` is gone: a failure ends with its reading or its person.",
    "--aggregate": "`--aggregate` is gone: `pts-worker report` has figures without small numbers.",
    "--format ndjson": "NDJSON is gone: `pts-worker export` writes CSV and Parquet.",
    "--faults": "`--faults` is gone: the control address of a running sandbox takes faults.",
    "--shard": "`--shard` is gone: a run is one process (docs/scale.md).",
    "--run-key": "`--run-key` is gone: a run is one process (docs/scale.md).",
    **{
        flag: f"`{flag}` is gone: `--set {key}=VALUE` does the same." for flag, key in _KEYS.items()
    },
}
"""A sentence for the words of a command, for an option, or for an option with a value."""


def where_it_went(error: click.ClickException) -> click.ClickException:
    """The error, or a sentence on the word that it does not know."""
    match error:
        case click.NoSuchCommand(command_name=name, ctx=click.Context() as context):
            words = " ".join([*context.command_path.split()[1:], name])
        case click.NoSuchOption(option_name=words):
            pass
        case click.BadParameter(param=click.Option(opts=[option, *_]), message=message):
            value, *_ = message.split(" ", 1)  # click quotes what is none of the choices
            words = f"{option} {value.strip(chr(39))}"
        case _:
            return error
    return click.UsageError(GONE[words], error.ctx) if words in GONE else error
