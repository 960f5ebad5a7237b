"""The program: all commands, and one place where errors become exit codes."""

import gc
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click
from click.shell_completion import shell_complete

from worker import __version__
from worker.cli.options import COMMON, Cli, Group
from worker.cli.output import report_bug, report_call, report_error
from worker.errors import ExitCode, WorkerError
from worker.streams import is_output_lost

NAME: Final = "pts-worker"
COMPLETION: Final = "_PTS_WORKER_COMPLETE"
"""The variable by which a shell asks for completions."""

_HELP: Final = (
    "Keeps a local, provable copy of PTS access restrictions for your own patients.\n\n"
    "To try it without NHN: `pts-worker sandbox`.\n\n"
    "First night: `pts-worker init` writes a configuration, makes the keys and says what to "
    "register, `pts-worker db upgrade` makes the database, `pts-worker doctor` "
    "checks everything and says how long a night takes, `pts-worker sync` reads everyone. Then "
    "`pts-worker sync` every night, and `pts-worker status` in the morning.\n\n"
    "`pts-worker COMMAND --help` has the options of a command and an example."
)
_EXIT_CODES: Final = (
    "Exit codes: 0 done, and a run published with everyone read, 2 usage, 3 published with gaps, "
    "4 another run is on, 5 withheld, 65 data contract, 69 unavailable, 70 bug, 75 stopped, "
    "77 refused, 78 configuration, or what a command shows cannot be written."
)
COMMANDS: Final[Mapping[str, str]] = {
    "init": "Write a configuration file that describes every key, and ask for what is needed.",
    "contract": "The contract with PTS: show it, or make one. Example: `pts-worker contract show`",
    "sync": "One full run over the roster: read everyone, then publish.",
    "backfill": "Read some persons again, and publish that. It marks nobody as departed.",
    "schedule": "Stay up and run `sync` on a cron expression in a named time zone.",
    "status": "Show recent runs, snapshot age, failures and the lease.",
    "failures": "What could not be read. Example: `pts-worker failures list`",
    "explain": "Show everything that is stored about one person.",
    "erase": "Remove one person completely: versions, history, proofs, failures, and the person.",
    "report": "Write the published state as one HTML file that needs nothing else.",
    "export": "Write the reporting views to a folder as CSV or Parquet.",
    "db": "Create, upgrade and back up the database. Example: `pts-worker db upgrade`",
    "keys": "Make and look at keys. Example: `pts-worker keys new --out helseid.jwk.json`",
    "doctor": "Check the complete set-up, and show what is wrong and what to do.",
    "config": "The configuration: check, show. Example: `pts-worker config check`",
    "sandbox": "Serve stand-ins for HelseID and PTS on loopback, with synthetic persons.",
}
"""What each command or group does; it is ``worker.cli.commands.NAME.command``."""

GONE: Final[Mapping[str, str]] = {
    "verify": "`verify` is gone: every `pts-worker sync` reads everybody and compares.",
    "plan": "`plan` is gone: its figures are in the roster line of `pts-worker doctor`.",
    "db restore": "`db restore` is gone: copy the file back, as docs/database.md shows.",
    "keys check": "`keys check` is gone: the line `key` of `pts-worker doctor` says type and name.",
    "config schema": "`config schema` is gone: the file of `pts-worker init` describes every key.",
    "failures retry": "`failures retry` is gone: `pts-worker backfill --failed` does the same.",
    "failures purge": "`failures purge` is gone: a failure ends with its reading or its person.",
    "--aggregate": "`--aggregate` is gone: `pts-worker report` has figures without small numbers.",
    "--format ndjson": "NDJSON is gone: `pts-worker export` writes CSV and Parquet.",
    "--shard": "`--shard` is gone: a run is one process (docs/scale.md).",
    "--run-key": "`--run-key` is gone: a run is one process (docs/scale.md).",
}
"""A sentence for the words of a command, for an option, or for an option with a value."""


class _Program(Group):
    """A command is imported when it is called; help and completion list it without that."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            found = import_module(f"worker.cli.commands.{name}").command
        return name, found, rest


PROGRAM: Final = _Program(
    NAME,
    help=_HELP,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    commands={name: click.Command(name, short_help=text) for name, text in COMMANDS.items()},
)
for add_option in COMMON:
    add_option(PROGRAM)
click.version_option(__version__, message="%(version)s", help="Show the version.")(PROGRAM)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The exit code, one of ``worker.errors.ExitCode``.
    """
    cli, as_json = Cli(), "--json" in arguments
    gc.disable()  # what is imported stays, and the collector took a tenth of the time
    try:
        if asked := os.environ.get(COMPLETION):
            return shell_complete(PROGRAM, {}, NAME, COMPLETION, asked)
        return _called(cli, arguments)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (SystemExit, KeyboardInterrupt, click.Abort) as stopped:
        if isinstance(stopped, SystemExit) and stopped.code != ExitCode.STOPPED:
            raise
        report_error(cli.stopped(), as_json=as_json)
        return ExitCode.STOPPED
    except click.ClickException as error:
        report_call(_where_it_went(error), as_json=as_json)
        return ExitCode.USAGE
    except WorkerError as error:
        report_error(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the last line: a bug must end with its own code
        report_bug(error, as_json=as_json)
        return ExitCode.BUG
    finally:
        gc.enable()


def _called(cli: Cli, arguments: Sequence[str]) -> int:
    """The exit code of the command; another if it would be 0 and the result is lost."""
    with PROGRAM.make_context(NAME, [*arguments], obj=cli) as context:
        code = int(PROGRAM.invoke(context) or ExitCode.OK)
    is_lost = code == ExitCode.OK and not cli.keeps_code and is_output_lost()
    return ExitCode.CONFIGURATION if is_lost else code


def _where_it_went(error: click.ClickException) -> click.ClickException:
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
