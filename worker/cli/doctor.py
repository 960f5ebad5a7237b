"""``doctor``: what is wrong with the set-up, and what to do about it."""

import sys

from worker.app import App
from worker.cli.base import Cli
from worker.cli.output import fitted
from worker.cli.showing import coloured, read_identifier
from worker.core.identity import NationalId
from worker.errors import ConfigurationError, FlagError, UsageError
from worker.logs import configure
from worker.use_cases.checks import CheckResult
from worker.use_cases.doctor import diagnose
from worker.use_cases.pts_checks import SYNTHETIC_PERSON


def run(cli: Cli, *, probe: bool, person: str | None) -> int:
    """Run ``pts-worker doctor``."""
    if person not in {None, "-"}:
        raise UsageError("--person takes - and reads one identifier from standard input")
    if person and not probe:
        raise UsageError("--person is for --probe")
    wanted = None
    if probe:
        wanted = read_identifier() if person else NationalId(SYNTHETIC_PERSON)
    return report_diagnosis(cli, load_or_error(cli), probe=wanted)


def report_diagnosis(
    cli: Cli,
    app: App | ConfigurationError,
    *,
    probe: NationalId | None = None,
    is_offline: bool = False,
) -> int:
    """Check everything (``diagnose``), print a line for each check, and give the exit code."""
    diagnosis = cli.run(
        lambda: diagnose(
            app,
            probe=probe,
            is_offline=is_offline,
            on_line=(lambda _: None) if cli.given.as_json else _print,
        )
    )
    cli.emit(diagnosis, lambda: None)
    return diagnosis.exit_code


def load_or_error(cli: Cli) -> App | ConfigurationError:
    """The configured app; logs below an error would only repeat the lines."""
    try:
        app = cli.load(None)
    except FlagError:
        raise
    except ConfigurationError as error:
        return error
    if app.loaded.origins["log.level"] == "default":
        configure("ERROR", app.settings.log.format)
    return app


def _print(line: CheckResult) -> None:
    state = line.state.ljust(4)
    said = [f"{state}  {line.name:<19} {line.text}"]
    said += [f"{'':<26} {detail}" for detail in line.details]
    said += [f"{'':<26} → {line.hint}"] if line.hint else []
    text = "\n".join(fitted(one, sys.__stdout__, indent=29) for one in said)
    print(text.replace(state, coloured(state, line.state), 1), flush=True)
