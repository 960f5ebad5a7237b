"""The demo, ``make demo``: the sandbox, a month of nights, and the reports.

The nights are real runs, with the clocks of worker and sandbox set back. The last one runs with the
program's own command, and two persons cannot be read in it.

It uses SQLite, because a PostgreSQL server would date all publications today by its own clock.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio

from worker.app import App
from worker.cli.output import fitted
from worker.cli.run_sync import RunRequest, run_sync
from worker.config import load
from worker.logs import configure
from worker.ports import Runtime, real_runtime
from worker.sandbox.serve import DATABASE, RunningSandbox, running_sandbox, write_setup
from worker.sandbox.world import SandboxOptions

FOLDER: Final = Path("demo")
CONFIG: Final = FOLDER / "worker.toml"
REPORTS: Final = {"en": FOLDER / "report.html", "nb": FOLDER / "rapport.html"}
_NIGHTS: Final = 31
_PERSONS: Final = 300
_WITH_GAPS: Final = 3
_DAY: Final = timedelta(days=1)
_SPEED: Final = 10.0
_FAULTS: Final[dict[int, dict[str, Any]]] = {
    # PTS answers "no restrictions" for many persons, and the guard withholds the run.
    9: {"action": "empty_list", "area": "patient-safety", "persons": [*range(120)]},
    # Some persons cannot be read.
    5: {"action": "status", "area": "patient-privacy", "persons": [*range(20, 32)]},
    16: {"action": "status", "area": "patient-safety", "persons": [*range(40, 49)]},
    23: {"action": "status", "area": "patient-safety", "persons": [*range(80, 86)]},
    0: {"action": "status", "area": "patient-safety", "persons": [3, 6]},
}
"""By the number of nights before today."""
_FEED: Final = """
SELECT published_at, op, area, restriction_group, local_ref FROM report_change_feed
WHERE restriction_id = (
    SELECT restriction_id FROM report_change_feed
    WHERE publication_no > 1 AND op IN ('update', 'close')
    AND restriction_group <> 'none' AND local_ref IN (
        SELECT local_ref FROM report_person_freshness GROUP BY local_ref HAVING max(is_stale) = 0
    )
    GROUP BY restriction_id ORDER BY count(*) DESC, max(seq) DESC LIMIT 1
)
ORDER BY seq DESC LIMIT 2
"""
"""The last two changes of the most changed restriction, of a person without stale areas."""
_EXPLAINED: Final = 24
"""Lines of ``explain`` that the demo shows."""
_COUNTS: Final = {
    "persons": "persons_total",
    "read": "rows_read",
    "new": "rows_opened",
    "changed": "rows_changed",
    "closed": "rows_closed",
    "departed": "persons_departed",
    "failed": "areas_failed",
}
"""Columns of the table of nights, with their totals in the run's report."""


class DemoFailedError(Exception):
    """A command of the demo ended with an unexpected exit code."""


def main() -> int:
    """Run the demo. Return 0 if every step succeeded."""
    clock = real_runtime().monotonic
    started_s = clock()
    shutil.rmtree(FOLDER, ignore_errors=True)  # the nights of an earlier demo are other days
    options = write_setup(FOLDER, SandboxOptions(persons=_PERSONS))
    try:
        with running_sandbox(options) as sandbox:
            _run(sandbox)
            if os.environ.get("KEEP"):
                _wait(sandbox)
    except DemoFailedError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    _say(
        f"Done in {clock() - started_s:.0f} s. Open {REPORTS['en']}, or query the views in "
        f"{FOLDER / DATABASE}\n"
        "(for example report_patient_safety_current). `make demo KEEP=1` leaves it running."
    )
    return 0


def _run(sandbox: RunningSandbox) -> None:
    _say(f"The sandbox serves stand-ins for HelseID and PTS, with {_PERSONS} synthetic persons.")
    _worker("db", "upgrade")
    _say(
        f"{_NIGHTS} nights, the first of them a month ago: all clocks are set back. They read\n"
        "two areas of each person. The columns count persons, restrictions, and areas that\n"
        "could not be read (failed)."
    )
    anyio.run(_nights, sandbox)
    _say(
        "Tonight: some restrictions have changed, and the reads of two persons fail.\n"
        "Their last known state remains and is marked stale (exit code 3)."
    )
    _let_pass(sandbox, 0)
    # Fewer attempts, so that the demo does not wait for reads that fail on purpose.
    _worker("--set", "sync.retry_attempts=2", "sync", expect=_WITH_GAPS)
    _say("The operator's checks in the morning:")
    _worker("status")
    _worker("failures", "list")
    _show_one_person()
    _say("The report for the director:")
    for language, report in REPORTS.items():
        _worker("report", "--language", language, "--out", str(report))


def _show_one_person() -> None:
    """Print rows of the change feed and the output of ``explain`` for one synthetic person."""
    with contextlib.closing(sqlite3.connect(FOLDER / DATABASE)) as database:
        feed = database.execute(_FEED).fetchall()
    local_ref = feed[0][-1]
    _say(f"The last two changes of one synthetic person, {local_ref} (report_change_feed):")
    for published_at, op, area, group, reference in feed:
        print(f"  {published_at[:10]}  {op:<7} {area:<16} {group or '':<8} {reference}")
    # The database has no identifiers, so the person's is looked up in the roster.
    roster = (FOLDER / "roster.csv").read_text(encoding="utf-8")
    off_id = next(line for line in roster.splitlines() if local_ref in line)[:11]
    _say("The stored data of this person (the identifier comes on standard input):")
    _worker("explain", "--purpose", "demo", stdin=off_id, lines=_EXPLAINED)


async def _nights(sandbox: RunningSandbox) -> None:
    """Run the nights before tonight, and print a line for each."""
    loaded = load(
        environ=_environment() | {"PTS_LOG__LEVEL": "ERROR"},
        cwd=Path.cwd(),
        config_path=CONFIG,
        purpose="sync",
    )
    configure("CRITICAL", "console")  # errors are part of some nights
    print("  night ", *(f"{name:>5}" for name in _COUNTS), " ended")
    for back in range(_NIGHTS, 0, -1):  # in order: each night is compared with the one before
        _let_pass(sandbox, back)
        app = App(loaded=loaded, runtime=_set_back(_DAY * back))
        report = await run_sync(app, RunRequest(), stop=anyio.Event())
        counts = [
            f"{report.totals.get(column, '-'):>{max(5, len(name))}}"
            for name, column in _COUNTS.items()
        ]
        ended = f"{report.status} ({int(report.exit_code)})"
        print(f"  {app.runtime.now():%d.%m.}", *counts, f" {ended}", flush=True)


def _let_pass(sandbox: RunningSandbox, back: int) -> None:
    """Set the sandbox to a night before today."""
    faults = [_FAULTS[back]] if back in _FAULTS else []
    skew_s = -back * _DAY.total_seconds()
    sandbox.control(generation=_NIGHTS - back, clock_skew_s=skew_s, faults=faults)


def _set_back(shift: timedelta) -> Runtime:
    """The real runtime with an earlier wall clock, and with waits of a tenth of their time."""
    # Each night waits before its second reads and for failing persons.
    real = real_runtime()
    return Runtime(
        now=lambda: real.now() - shift,
        monotonic=lambda: real.monotonic() * _SPEED,
        sleep=lambda wait_s: real.sleep(wait_s / _SPEED),
        uniform=real.uniform,
        new_id=real.new_id,
    )


def _worker(*arguments: str, expect: int = 0, stdin: str = "", lines: int = 0) -> None:
    """Run ``pts-worker`` with the demo's configuration and show its output.

    Args:
        lines: show only the first lines of it.

    Raises:
        DemoFailedError: unexpected exit code.
    """
    called = f"$ pts-worker --config {CONFIG} {' '.join(arguments)}"
    print(f"\n{fitted(called, sys.stdout)}", flush=True)
    call = [sys.executable, "-m", "worker", "--config", str(CONFIG), "--set", "log.level=ERROR"]
    done = subprocess.run(
        [*call, *arguments],
        env=_environment(),
        check=False,
        input=stdin,
        stdout=subprocess.PIPE if lines else None,
        text=True,
    )
    for line in (done.stdout or "").splitlines()[:lines]:
        print(fitted(line, sys.stdout))
    if lines:
        print("  … and so on: every version with all its columns")
    if done.returncode != expect:
        raise DemoFailedError(
            f"{arguments[0]} ended with exit code {done.returncode}, expected {expect}"
        )


def _environment() -> dict[str, str]:
    """The environment without the caller's ``PTS_`` variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PTS_")}


def _wait(sandbox: RunningSandbox) -> None:
    """Leave the sandbox running until Ctrl-C."""
    _say(
        "The sandbox keeps running; Ctrl-C ends it. In another terminal, for example:\n"
        f"  {sys.executable} -m worker --config {CONFIG} sync\n"
        '  curl -H "Content-Type: application/json" '
        f'-d \'{{"generation": 2, "faults": []}}\' {sandbox.control_url}'
    )
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _say(text: str) -> None:
    wrapped = fitted(text, sys.stdout, hanging=0)
    print(f"\n\033[1m{wrapped}\033[0m" if sys.stdout.isatty() else f"\n{wrapped}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
