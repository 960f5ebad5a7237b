"""``doctor`` and ``config check``: every check, a line for each, and what to do."""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import click

from worker.app import App
from worker.cli import checks, service_checks
from worker.cli.base import Cli
from worker.cli.checks import CheckResult
from worker.cli.output import fitted
from worker.core.identity import NationalId
from worker.errors import ConfigurationError, ExitCode, FlagError, WorkerError
from worker.logs import configure
from worker.offid import is_h_number

Check = Callable[[App], Awaitable[CheckResult]]
_OFFLINE: Final[dict[str, Check]] = {
    "key": checks.check_key,
    "pseudonym key": checks.check_pseudonym_key,
    "certificates": checks.check_certificates,
    "database": checks.check_database_file,
    "roster": checks.check_roster_file,
    "contract": lambda app: checks.check_contract(app, has_store=False),
}
_ONLINE: Final = ("clock", "key", "discovery", "token", "database", "PTS", "contract", "roster")
_COLOURS: Final = {checks.State.OK: "green", checks.State.WARN: "yellow", checks.State.FAIL: "red"}


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
    app = _load(cli)
    checkup = _Checkup(on_line=(lambda _: None) if cli.as_json else _print)
    if isinstance(app, ConfigurationError):
        checkup.add(checks.fail("configuration", app))
        for name in _OFFLINE if is_offline else _ONLINE:
            checkup.add(checks.skip(name, "the configuration cannot be read"))
    else:
        cli.run(lambda: checkup.read_files(app) if is_offline else checkup.execute(app, probe))
    code = next((line.exit_code for line in checkup.lines if line.exit_code), ExitCode.OK)
    cli.emit({"exit_code": code, "lines": checkup.lines}, lambda: None)
    return code


def _load(cli: Cli) -> App | ConfigurationError:
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


class _Checkup:
    """One round of all checks."""

    def __init__(self, on_line: Callable[[CheckResult], None]) -> None:
        self._on_line = on_line
        self.lines: list[CheckResult] = []

    async def execute(self, app: App, probe: NationalId | None) -> None:
        """Check everything."""
        await self._check("configuration", checks.check_configuration, app)
        await self._check("clock", service_checks.check_clock, app)
        has_key = await self._check("key", checks.check_key, app)
        has_discovery = await self._check("discovery", service_checks.check_discovery, app)
        has_token = False
        if has_key and has_discovery:
            has_token = await self._check("token", service_checks.check_token, app)
        else:
            self.add(checks.skip("token", f"first the {'discovery' if has_key else 'key'}"))
        has_database = await self._check("database", checks.check_database, app)
        await self._pts(app, probe, has_token=has_token)
        if has_database:
            await self._check("contract", checks.check_contract, app)
        else:
            self.add(checks.skip("contract", "first the database"))
        await self._check("roster", checks.check_roster, app)

    async def read_files(self, app: App) -> None:
        """Check what can be checked without the network."""
        await self._check("configuration", checks.check_configuration, app)
        for name, check in _OFFLINE.items():
            await self._check(name, check, app)

    async def _pts(self, app: App, probe: NationalId | None, *, has_token: bool) -> None:
        if app.settings.api.base_url is None:
            self.add(checks.skip("PTS", "api.base_url is not set"))
            return
        reached = await self._check("PTS", service_checks.check_reach, app)
        if probe is None:
            return
        if not (reached and has_token):
            self.add(checks.skip("PTS probe", f"first {'the token' if reached else 'PTS'}"))
            return
        if is_h_number(probe.reveal()) and not app.sends_h_numbers:
            self.add(checks.skip("PTS probe", "an H-number is not sent (roster.send_h_numbers)"))
            return
        try:
            for line in await service_checks.check_probe(app, probe):
                self.add(line)
        except WorkerError as error:
            self.add(checks.fail("PTS probe", error))

    async def _check(self, name: str, check: Check, app: App) -> bool:
        """Add the line of one check; return whether checks that depend on it can run."""
        try:
            line = await check(app)
        except WorkerError as error:
            line = checks.fail(name, error)
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            bug = WorkerError(
                f"this check failed because of a bug ({type(error).__name__})",
                hint="please report it",
            )
            line = checks.fail(name, bug)
        self.add(line)
        return line.state is not checks.State.FAIL

    def add(self, line: CheckResult) -> None:
        """Keep the line and pass it to ``on_line``."""
        self.lines.append(line)
        self._on_line(line)


def _print(line: CheckResult) -> None:
    state = line.state.ljust(4)
    said = [f"{state}  {line.name:<19} {line.text}"]
    said += [f"{'':<26} {detail}" for detail in line.details]
    said += [f"{'':<26} → {line.hint}"] if line.hint else []
    text = "\n".join(fitted(one, sys.__stdout__, indent=29) for one in said)
    if line.state in _COLOURS and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        text = text.replace(state, click.style(state, fg=_COLOURS[line.state]), 1)
    print(text, flush=True)
