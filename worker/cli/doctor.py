"""``doctor``: what is wrong with the set-up, and what to do about it."""

from collections.abc import Awaitable, Callable
from typing import Any

import click

from worker.app import App
from worker.cli import checks
from worker.cli.base import Cli, subcommand
from worker.cli.checks import Line
from worker.cli.probe import SYNTHETIC_PERSON
from worker.cli.showing import read_identifier
from worker.core.identity import NationalId
from worker.core.offid import is_h_number
from worker.errors import ConfigurationError, ExitCode, UsageError, WorkerError
from worker.logs import configure

HELP = """Check the whole set-up, and tell what is wrong and what to do.

Configuration, clock, key, HelseID's discovery and token, PTS, database, roster, and
telemetry.textfile if it is set: one line each, OK, WARN or FAIL. A failure does not stop the
other checks; SKIP marks what cannot be checked because of one. Changes nothing.

Exit code: that of the first FAIL (78 configuration, 77 refused, 69 unavailable, 65 data contract),
else 0.

PTS is only reached. With `--probe` one synthetic person is read, and the shape of PTS's answers is
told: names of fields and kinds of values, never a value.

`--json`: exit_code, lines (name, state, text, hint, exit_code, details, facts).

Example: `pts-worker doctor --probe`
"""
_CHECKED = ("clock", "key", "discovery", "token", "PTS", "database", "roster")


@subcommand("doctor", HELP)
@click.option("--probe", is_flag=True, help="Read one synthetic person from PTS.")
@click.option(
    "--person",
    metavar="-",
    help="With --probe: - takes the identifier from standard input, instead of a number "
    "that NHN has published.",
)
def command(cli: Cli, *, probe: bool, person: str | None) -> int:
    """See ``HELP``."""
    if person not in {None, "-"}:
        raise UsageError("--person takes - and reads one identifier from standard input")
    if person and not probe:
        raise UsageError("--person is for --probe")
    off_id = read_identifier() if person else None
    visit = _Visit(cli, probe=probe, off_id=off_id)
    cli.run(visit.execute)
    code = next((line.exit_code for line in visit.lines if line.exit_code), ExitCode.OK)
    document = {"exit_code": int(code), "lines": [_document(line) for line in visit.lines]}
    cli.emit(document, lambda: None)
    return code


class _Visit:
    """One round of all checks; each line is printed when it is known."""

    def __init__(self, cli: Cli, *, probe: bool, off_id: NationalId | None) -> None:
        self._cli = cli
        self._probe = probe
        self._off_id = off_id
        self.lines: list[Line] = []

    async def execute(self) -> None:
        """Check everything."""
        app = self._load()
        if app is None:
            for name in _CHECKED:
                self._add(checks.skip(name, "the configuration cannot be read"))
            return
        await self._check("configuration", checks.check_configuration, app)
        await self._check("clock", checks.check_clock, app)
        has_key = await self._check("key", checks.check_key, app)
        has_discovery = await self._check("discovery", checks.check_discovery, app)
        has_token = False
        if has_key and has_discovery:
            has_token = await self._check("token", checks.check_token, app)
        else:
            self._add(checks.skip("token", f"first the {'discovery' if has_key else 'key'}"))
        await self._pts(app, has_token=has_token)
        await self._check("database", checks.check_database, app)
        await self._check("roster", checks.check_roster, app)
        if app.settings.telemetry.textfile is not None:
            await self._check("telemetry", checks.check_textfile, app)

    def _load(self) -> App | None:
        """The configured app; logs below a warning would only repeat the lines."""
        try:
            app = self._cli.load(None)
        except ConfigurationError as error:
            self._add(checks.fail("configuration", error))
            return None
        if app.loaded.origins["log.level"] == "default":
            configure("ERROR", app.settings.log.format)
        return app

    async def _pts(self, app: App, *, has_token: bool) -> None:
        if app.settings.api.base_url is None:
            self._add(checks.skip("PTS", "api.base_url is not set"))
            return
        reached = await self._check("PTS", checks.check_reach, app)
        if not self._probe:
            return
        if not (reached and has_token):
            self._add(checks.skip("PTS probe", f"first {'the token' if reached else 'PTS'}"))
            return
        off_id = self._off_id or _synthetic()
        if is_h_number(off_id.reveal()) and not app.sends_h_numbers:
            self._add(checks.skip("PTS probe", "an H-number is not sent (roster.send_h_numbers)"))
            return
        try:
            for line in await checks.check_probe(app, off_id):
                self._add(line)
        except WorkerError as error:
            self._add(checks.fail("PTS probe", error))

    async def _check(self, name: str, check: Callable[[App], Awaitable[Line]], app: App) -> bool:
        """Add the line of one check; whether what rests on it can be checked, too."""
        try:
            line = await check(app)
        except WorkerError as error:
            line = checks.fail(name, error)
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            bug = WorkerError(
                f"this check ended with a bug ({type(error).__name__})", hint="please report it"
            )
            line = checks.fail(name, bug)
        self._add(line)
        return line.state is not checks.State.FAIL

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        if not self._cli.as_json:
            _print(line)


def _synthetic() -> NationalId:
    return NationalId(SYNTHETIC_PERSON)


def _document(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "state": line.state.value,
        "text": line.text,
        "hint": line.hint,
        "exit_code": int(line.exit_code),
        "details": list(line.details),
        "facts": dict(line.facts),
    }


def _print(line: Line) -> None:
    print(f"{line.state:<4}  {line.name:<19} {line.text}")
    for detail in line.details:
        print(f"{'':<26} {detail}")
    if line.hint:
        print(f"{'':<26} → {line.hint}", flush=True)
