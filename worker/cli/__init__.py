"""The command line, ``pts-worker COMMAND``; here errors become exit codes.

``worker.cli.commands`` has a module for each command: its options, what it does and what it prints.
What it works with comes from ``worker.app``; a run is carried out by ``worker.cli.run_sync``.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from worker import __version__
from worker.cli.options import COMMON, Cli, Group
from worker.cli.output import IDENTIFIER_HINT, report_bug, report_call, report_error
from worker.errors import ExitCode, StoppedError, UsageError, WorkerError
from worker.masking import mask_identifiers
from worker.streams import is_output_lost

NAME: Final = "pts-worker"

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
    "Exit codes: 0 done, and a run published with everyone read, 2 usage, 3 published with gaps "
    "(status --max-age: the copy is too old), "
    "4 another run is on, 5 withheld, 65 data contract, 69 unavailable, 70 bug, 75 stopped, "
    "77 refused, 78 configuration, or what a command shows cannot be written."
)
_IDENTIFIER: Final = "an argument holds an identifier"
COMMANDS: Final = (
    *("backfill", "config", "contract", "db", "doctor", "erase", "explain", "export", "failures"),
    *("init", "keys", "report", "sandbox", "schedule", "status", "sync"),
)
"""Each is ``worker.cli.commands.NAME.command``."""

GONE: Final[Mapping[str, str]] = {
    "verify": "`verify` is gone: every `pts-worker sync` reads everybody and compares.",
    "plan": "`plan` is gone: its figures are in the roster line of `pts-worker doctor`.",
    "db restore": "`db restore` is gone: copy the file back, as docs/database.md shows.",
    "keys check": "`keys check` is gone: the line `key` of `pts-worker doctor` says type and name.",
    "config schema": "`config schema` is gone: the file of `pts-worker init` describes every key.",
    "failures retry": "`failures retry` is gone: `pts-worker backfill --failed` does the same.",
    "failures purge": "`failures purge` is gone: a failure ends with its reading or its person.",
    "export --aggregate": "`--aggregate` is gone: `report` has figures without small numbers.",
    "export --format 'ndjson'": "NDJSON is gone: `pts-worker export` writes CSV and Parquet.",
    "sync --shard": "`--shard` is gone: a run is one process (docs/scale.md).",
    "sync --run-key": "`--run-key` is gone: a run is one process (docs/scale.md).",
}
"""A sentence for a call that was dropped: the command, and what it does not take any more."""


class _Program(Group):
    """A command is imported when it is called, or listed."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command or group of a name."""
        if cmd_name not in self.commands:
            return None
        command: click.Command = import_module(f"worker.cli.commands.{cmd_name}").command
        return command


PROGRAM: Final = _Program(
    NAME,
    help=_HELP,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    commands={name: click.Command(name) for name in COMMANDS},
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
        if any(mask_identifiers(word) != word for word in arguments):
            raise UsageError(_IDENTIFIER, hint=IDENTIFIER_HINT)  # noqa: TRY301 - as click does
        code = PROGRAM.main([*arguments], NAME, standalone_mode=False, obj=cli) or ExitCode.OK
        is_lost = code == ExitCode.OK and not cli.keeps_code and is_output_lost()
        return ExitCode.CONFIGURATION if is_lost else int(code)
    except (SystemExit, click.Abort) as stopped:
        if isinstance(stopped, SystemExit) and stopped.code != ExitCode.STOPPED:
            raise
        if sys.stdin.isatty():
            print(file=sys.stderr)  # a question has left the cursor in its line
        report_error(StoppedError("stopped"), as_json=as_json)
        return ExitCode.STOPPED
    except click.ClickException as error:
        report_call(_where_it_went(error), arguments, as_json=as_json)
        return ExitCode.USAGE
    except WorkerError as error:
        report_error(error, as_json=as_json)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last line: a bug must end with its own code
        report_bug(error, as_json=as_json)
        return ExitCode.BUG
    finally:
        gc.enable()


def _where_it_went(error: click.ClickException) -> click.ClickException:
    """The error, or a sentence on the words that it does not know."""
    match error:
        case click.NoSuchCommand(ctx=context, command_name=words):
            pass
        case click.NoSuchOption(ctx=context, option_name=words):
            pass
        case click.BadParameter(ctx=context, param=click.Option(opts=[flag]), message=text):
            words = f"{flag} {text.partition(' is not')[0]}"
        case _:
            return error
    call = f"{context.command_path} {words}".partition(" ")[2] if context else ""
    return click.UsageError(GONE[call], context) if call in GONE else error
