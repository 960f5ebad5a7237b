"""``doctor``: checks everything that a sync needs, and says how to fix what is wrong."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from worker.app import App
from worker.core.identity import NationalId
from worker.core.value import Value
from worker.errors import ConfigurationError, ExitCode, WorkerError
from worker.offid import is_h_number
from worker.use_cases import checks, file_checks, pts_checks
from worker.use_cases.checks import CheckResult
from worker.use_cases.contract_check import check_contract

_OFFLINE: Final = {
    "key": checks.check_key,
    "pseudonym key": file_checks.check_pseudonym_key,
    "certificates": file_checks.check_certificates,
    "database": file_checks.check_database_file,
    "roster": file_checks.check_roster_file,
}
_CHECKED = ("clock", "key", "discovery", "token", "database", "PTS", "contract", "roster")


class Diagnosis(Value, frozen=True, kw_only=True):
    """The lines of all checks; ``exit_code`` is that of the first failure."""

    exit_code: ExitCode
    lines: Sequence[CheckResult]


async def diagnose(
    app: App | ConfigurationError,
    *,
    probe: NationalId | None,
    on_line: Callable[[CheckResult], None],
    is_offline: bool = False,
) -> Diagnosis:
    """Check everything; a failed check does not stop the others.

    Changes nothing, but that the store remembers a probe that succeeded.

    Args:
        probe: whom to read from PTS as well, if anybody.
        on_line: called with each line as soon as it is known.
        is_offline: check files only, and use no network.
    """
    checkup = _Checkup(probe=probe, on_line=on_line)
    if isinstance(app, ConfigurationError):
        checkup.add(checks.fail("configuration", app))
        for name in _OFFLINE if is_offline else _CHECKED:
            checkup.add(checks.skip(name, "the configuration cannot be read"))
    elif is_offline:
        await checkup.read_files(app)
    else:
        await checkup.execute(app)
    code = next((line.exit_code for line in checkup.lines if line.exit_code), ExitCode.OK)
    return Diagnosis(exit_code=code, lines=checkup.lines)


class _Checkup:
    """One round of all checks."""

    def __init__(self, *, probe: NationalId | None, on_line: Callable[[CheckResult], None]) -> None:
        self._probe = probe
        self._on_line = on_line
        self.lines: list[CheckResult] = []

    async def execute(self, app: App) -> None:
        """Check everything."""
        await self._check("configuration", checks.check_configuration, app)
        await self._check("clock", checks.check_clock, app)
        has_key = await self._check("key", checks.check_key, app)
        has_discovery = await self._check("discovery", checks.check_discovery, app)
        has_token = False
        if has_key and has_discovery:
            has_token = await self._check("token", checks.check_token, app)
        else:
            self.add(checks.skip("token", f"first the {'discovery' if has_key else 'key'}"))
        has_database = await self._check("database", checks.check_database, app)
        await self._pts(app, has_token=has_token)
        first = checks.skip("contract", "first the database")
        self.add(await check_contract(app) if has_database else first)
        await self._check("roster", checks.check_roster, app)
        if app.settings.telemetry.textfile is not None:
            await self._check("telemetry", checks.check_textfile, app)

    async def read_files(self, app: App) -> None:
        """Check what can be checked without the network."""
        await self._check("configuration", checks.check_configuration, app)
        for name, check in _OFFLINE.items():
            await self._check(name, check, app)
        self.add(await check_contract(app, has_store=False))
        if app.settings.telemetry.textfile is not None:
            await self._check("telemetry", checks.check_textfile, app)

    async def _pts(self, app: App, *, has_token: bool) -> None:
        if app.settings.api.base_url is None:
            self.add(checks.skip("PTS", "api.base_url is not set"))
            return
        reached = await self._check("PTS", pts_checks.check_reach, app)
        if self._probe is None:
            return
        if not (reached and has_token):
            self.add(checks.skip("PTS probe", f"first {'the token' if reached else 'PTS'}"))
            return
        off_id = self._probe
        if is_h_number(off_id.reveal()) and not app.sends_h_numbers:
            self.add(checks.skip("PTS probe", "an H-number is not sent (roster.send_h_numbers)"))
            return
        try:
            for line in await pts_checks.check_probe(app, off_id):
                self.add(line)
        except WorkerError as error:
            self.add(checks.fail("PTS probe", error))

    async def _check(
        self, name: str, check: Callable[[App], Awaitable[CheckResult]], app: App
    ) -> bool:
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
