"""The program: all commands, and one place where errors become exit codes."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any, Final

import typer

from worker import __version__
from worker.cli import (
    backfill,
    config,
    db,
    doctor,
    erase,
    explain,
    export,
    failures,
    keys,
    plan,
    report,
    sandbox,
    schedule,
    status,
    sync,
    verify,
)
from worker.cli.base import CommonOptions, report_bug, report_call, report_error
from worker.errors import ExitCode, WorkerError

CallFault: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""What Typer raises for a wrong call. It carries a Click of its own, without a public name."""

_HELP: Final = (
    "Keeps a local, provable copy of PTS access restrictions for your own patients.\n\n"
    "First time: `pts-worker sandbox` to try it without NHN, `pts-worker doctor` to check a "
    "configuration, `pts-worker db upgrade`, then `pts-worker sync` every night."
)
_EXIT_CODES: Final = (
    "Exit codes: 0 published whole, 2 usage, 3 published with gaps, 4 another run is on, "
    "5 withheld, 65 data contract, 69 unavailable, 70 bug, 75 stopped, 77 refused, "
    "78 configuration."
)

COMMANDS: Final[Mapping[str, ModuleType]] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        sync,
        backfill,
        schedule,
        plan,
        status,
        failures,
        explain,
        erase,
        verify,
        report,
        export,
        db,
        keys,
        doctor,
        config,
        sandbox,
    )
}
"""The module of each command or group, by its name, in the order in which help lists them."""


def program_of(names: Iterable[str]) -> typer.Typer:
    """The program with these of its commands."""
    made = typer.Typer(
        name="pts-worker",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=_HELP,
        epilog=_EXIT_CODES,
    )
    made.callback(invoke_without_command=True)(_common)
    for name in names:
        COMMANDS[name].register(made)
    return made


def _common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    config_file: CommonOptions.config_file = None,
    settings: CommonOptions.settings = None,
    log_level: CommonOptions.log_level = None,
    log_format: CommonOptions.log_format = None,
    as_json: CommonOptions.as_json = False,
) -> None:
    """Options before the command serve every command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    context.obj = {
        "config_file": config_file,
        "settings": settings,
        "log_level": log_level,
        "log_format": log_format,
        "as_json": as_json,
    }


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Of a command that is named first the others are not laid out, which each start would pay for.

    Returns:
        The exit code, one of ``worker.errors.ExitCode``.
    """
    as_json = "--json" in arguments
    named = arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS
    try:
        program = program_of(named)
        result = program(args=list(arguments), prog_name="pts-worker", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.STOPPED
    except CallFault as error:
        report_call(error, as_json=as_json)
        return ExitCode.USAGE
    except WorkerError as error:
        report_error(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the last line: a bug must end with its own code
        if isinstance(error.__cause__, SystemExit):
            # Stopped while a module was being loaded: before 3.12 Python makes a RuntimeError of
            # whatever is raised while a class is made.
            return ExitCode.STOPPED
        report_bug(error, as_json=as_json)
        return ExitCode.BUG
    return result if isinstance(result, int) else ExitCode.OK
