"""``doctor`` and ``config check``: every check, a line for each, and what to do."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

import click

from worker.app import App
from worker.cli import checks, service_checks
from worker.cli.checks import CheckResult, State
from worker.cli.options import Cli
from worker.cli.output import fitted
from worker.core.identity import NationalId
from worker.errors import ConfigurationError, ExitCode, FlagError, WorkerError
from worker.logs import configure

Check: TypeAlias = Callable[[App], Awaitable[CheckResult | list[CheckResult]]]
_OFFLINE: Final[Mapping[str, Check]] = {
    "configuration": checks.check_configuration,
    "key": checks.check_key,
    "pseudonym key": checks.check_pseudonym_key,
    "certificates": checks.check_certificates,
    "database": checks.check_database_file,
    "roster": checks.check_roster_file,
    "contract": checks.check_contract_file,
}
_NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "token": ("key", "discovery"),
    "PTS probe": ("PTS", "token"),
    "contract": ("database",),
}
"""Without which lines another cannot be made; all files can be read."""
_COLOURS: Final = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red"}


def _online(probe: NationalId | None) -> Mapping[str, Check]:
    """In the order in which they rest on one another."""
    ask = partial(service_checks.check_probe, off_id=probe) if probe else None
    return {
        "configuration": checks.check_configuration,
        "clock": service_checks.check_clock,
        "key": checks.check_key,
        "discovery": service_checks.check_discovery,
        "token": service_checks.check_token,
        "database": checks.check_database,
        "PTS": service_checks.check_reach,
        **({"PTS probe": ask} if ask else {}),
        "contract": checks.check_contract,
        "roster": checks.check_roster,
    }


def report_checkup(
    cli: Cli, *, probe: NationalId | None = None, is_offline: bool = False
) -> ExitCode:
    """Check everything, print a line for each check, and give the exit code of the first failure.

    A failed check does not stop the others. Changes nothing, but that the store remembers a probe
    that succeeded.

    Args:
        probe: whom to read from PTS as well, if anybody.
        is_offline: check files only, and use no network.
    """
    wanted = _OFFLINE if is_offline else _online(probe)
    lines = list[CheckResult]()

    def add(line: CheckResult) -> None:
        lines.append(line)
        if not cli.as_json:
            _print(line)

    try:
        app = _load(cli)
    except FlagError:
        raise
    except ConfigurationError as error:
        first, *others = wanted
        add(checks.fail(first, error))
        for name in others:
            add(checks.skip(name, "the configuration cannot be read"))
    else:
        cli.run(lambda: _check_all(app, wanted, {} if is_offline else _NEEDS, add))
    code = next((line.exit_code for line in lines if line.exit_code), ExitCode.OK)
    cli.emit({"exit_code": code, "lines": lines}, lambda: None)
    return code


def _load(cli: Cli) -> App:
    app = cli.load(None)
    if app.loaded.origins["log.level"] == "default":
        configure("ERROR", app.settings.log.format)  # logs below would only repeat the lines
    return app


async def _check_all(
    app: App,
    wanted: Mapping[str, Check],
    needs: Mapping[str, Sequence[str]],
    add: Callable[[CheckResult], None],
) -> None:
    passed = set[str]()
    for name, check in wanted.items():
        missing = [needed for needed in needs.get(name, ()) if needed not in passed]
        if missing:
            lines = [checks.skip(name, f"{missing[0]} comes first")]
        else:
            lines = await _lines_of(name, check, app)
        for line in lines:
            add(line)
        if not {State.FAIL, State.SKIP}.intersection(line.state for line in lines):
            passed.add(name)


async def _lines_of(name: str, check: Check, app: App) -> list[CheckResult]:
    try:
        lines = await check(app)
    except WorkerError as error:
        lines = checks.fail(name, error)
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        what = f"this check failed because of a bug ({type(error).__name__})"
        lines = checks.fail(name, WorkerError(what, hint="please report it"))
    return lines if isinstance(lines, list) else [lines]


def _print(line: CheckResult) -> None:
    state = line.state.ljust(4)
    said = [f"{state}  {line.name:<19} {line.text}"]
    said += [f"{'':<26} {detail}" for detail in line.details]
    said += [f"{'':<26} → {line.hint}"] if line.hint else []
    text = "\n".join(fitted(one, sys.__stdout__, indent=29) for one in said)
    if line.state in _COLOURS and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        text = text.replace(state, click.style(state, fg=_COLOURS[line.state]), 1)
    print(text, flush=True)
