"""The command line, ``pts-worker COMMAND``. It maps errors to exit codes.

``worker.cli.commands`` has one module for each command: options, work and output. ``worker.app``
builds the parts that a command uses, and ``worker.cli.run_sync`` executes a run.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from worker import __version__
from worker.cli.options import COMMON, Cli, Group
from worker.cli.output import IDENTIFIER_HINT, report_bug, report_error, report_usage_error
from worker.errors import ExitCode, StoppedError, UsageError, WorkerError
from worker.masking import mask_identifiers
from worker.streams import is_output_lost

NAME: Final = "pts-worker"

_HELP: Final = (
    "Keeps a local, provable copy of PTS access restrictions for your own patients.\n\n"
    "To try it without NHN: `pts-worker sandbox`.\n\n"
    "First night: `pts-worker init` writes a configuration, makes the keys and prints the one to "
    "register. `pts-worker db upgrade` creates the database. `pts-worker doctor` checks the set-up "
    "and estimates the length of a run. `pts-worker sync` reads all persons. Then run "
    "`pts-worker sync` every night, and `pts-worker status` in the morning.\n\n"
    "`pts-worker COMMAND --help` shows the options of a command and an example."
)
_EXIT_CODES: Final = (
    "Exit codes: 0 success (of a run: published, and every person sent to PTS was read), 2 usage, "
    "3 published with gaps (of status --max-age: the copy is too old), "
    "4 another run is active, 5 withheld, 65 data contract, 69 unavailable, 70 bug, 75 stopped, "
    "77 refused, 78 configuration, or the output cannot be written."
)
_IDENTIFIER: Final = "an argument contains an identifier"
COMMANDS: Final = (
    *("backfill", "config", "contract", "db", "doctor", "erase", "explain", "export", "failures"),
    *("init", "keys", "report", "sandbox", "schedule", "status", "sync"),
)
"""Each command is ``worker.cli.commands.NAME.command``."""

GONE: Final[Mapping[str, str]] = {
    "verify": "`verify` is gone: every `pts-worker sync` reads all persons and compares.",
    "plan": "`plan` is gone: its figures are in the roster line of `pts-worker doctor`.",
    "db restore": "`db restore` is gone: copy the file back, as docs/database.md shows.",
    "keys check": "`keys check` is gone: the `key` line of `pts-worker doctor` shows it.",
    "config schema": "`config schema` is gone: the file of `pts-worker init` describes every key.",
    "failures retry": "`failures retry` is gone: `pts-worker backfill --failed` does the same.",
    "failures purge": "`failures purge` is gone: failures end when the area is read.",
    "export --aggregate": "`--aggregate` is gone: `report` has figures without small numbers.",
    "export --format 'ndjson'": "NDJSON is gone: `pts-worker export` writes CSV and Parquet.",
    "sync --shard": "`--shard` is gone: a run is one process (docs/scale.md).",
    "sync --run-key": "`--run-key` is gone: a run is one process (docs/scale.md).",
}
"""Removed commands and options, each with the sentence that names its replacement."""


class _Program(Group):
    """Imports a command when it is called or listed."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return the command or group of this name."""
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
    # Imported modules are never garbage, and collecting them took a tenth of the start-up time.
    gc.disable()
    try:
        # Checked before click parses them, because click repeats arguments in its messages.
        if any(mask_identifiers(word) != word for word in arguments):
            raise UsageError(_IDENTIFIER, hint=IDENTIFIER_HINT)  # noqa: TRY301 - as click does
        code = PROGRAM.main([*arguments], NAME, standalone_mode=False, obj=cli) or ExitCode.OK
        is_lost = code == ExitCode.OK and not cli.keeps_code and is_output_lost()
        return ExitCode.CONFIGURATION if is_lost else int(code)
    except (SystemExit, click.Abort) as error:
        if isinstance(error, SystemExit) and error.code != ExitCode.STOPPED:
            raise
        if sys.stdin.isatty():
            print(file=sys.stderr)  # the prompt left the cursor on its line
        report_error(StoppedError("stopped"), as_json=as_json)
        return ExitCode.STOPPED
    except click.ClickException as error:
        report_usage_error(_with_replacement(error), arguments, as_json=as_json)
        return ExitCode.USAGE
    except WorkerError as error:
        report_error(error, as_json=as_json)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - a bug ends with its own exit code
        report_bug(error, as_json=as_json)
        return ExitCode.BUG
    finally:
        gc.enable()


def _with_replacement(error: click.ClickException) -> click.ClickException:
    """Return the error, or for a removed command or option one that names the replacement."""
    match error:
        case (
            click.NoSuchCommand(ctx=context, command_name=words)
            | click.NoSuchOption(ctx=context, option_name=words)
        ):
            pass  # ``words`` is the removed command or option
        case click.BadParameter(ctx=context, param=click.Option(opts=[flag]), message=text):
            # A removed value: click's message begins with it in quotes, as in GONE.
            words = f"{flag} {text.partition(' is not')[0]}"
        case _:
            return error
    # As in GONE, without the program's name.
    call = f"{context.command_path} {words}".partition(" ")[2] if context else ""
    return click.UsageError(GONE[call], context) if call in GONE else error
