"""The demo, ``make demo``.

Starts the sandbox and runs the program against it: a month of nights, then one by the program's own
command in which two persons cannot be read, the run ledger, and the report in two languages.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from worker.sandbox.files import DATABASE, write_setup
from worker.sandbox.serve import RunningSandbox, SandboxOptions, running_sandbox

FOLDER: Final = Path("demo")
REPORTS: Final = {"en": FOLDER / "report.html", "nb": FOLDER / "rapport.html"}
_NIGHTS: Final = 31
_PERSONS: Final = 300
_PUBLISHED: Final = 0
_WITH_GAPS: Final = 3
_FAULT: Final = {"action": "status", "status": 503, "area": "patient-safety", "persons": [3, 6]}


class DemoFailedError(Exception):
    """A command of the demo ended with an unexpected exit code."""


def main() -> int:
    """Run the demo; return 0 if every step succeeded."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    options = write_setup(FOLDER, SandboxOptions(persons=_PERSONS))
    try:
        with running_sandbox(options) as sandbox:
            _say(
                "The sandbox serves stand-ins for HelseID and PTS on loopback, "
                f"with {_PERSONS} synthetic persons."
            )
            _worker("db", "upgrade")
            _say(
                f"{_NIGHTS} nights, the first of them a month ago: the clocks of the worker and of "
                "the sandbox are set back."
            )
            _nights(sandbox.options.pts_url)
            _say(
                "Tonight: some restrictions have changed, and two persons cannot be read.\n"
                "They keep their last known state and are marked stale (exit code 3)."
            )
            sandbox.control(generation=_NIGHTS, clock_skew_s=0, faults=[_FAULT])
            _worker("--set", "sync.retry_attempts=2", "sync", expect=_WITH_GAPS)
            _say("What an operator checks in the morning:")
            _worker("status")
            _worker("failures", "list")
            _say("What it prints for the director:")
            for language, report in REPORTS.items():
                _worker("report", "--language", language, "--out", str(report))
            if os.environ.get("KEEP"):
                _wait(sandbox)
    except DemoFailedError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    _say(
        f"Done in {time.monotonic() - started:.0f} s. Open {REPORTS['en']}, or query the views in "
        f"{FOLDER / DATABASE}\n"
        "(for example report_patient_safety_current)."
    )
    return 0


def _wait(sandbox: RunningSandbox) -> None:
    """Leave the sandbox running until Ctrl-C."""
    _say(
        "The sandbox keeps running; Ctrl-C ends it. In another terminal, for example:\n"
        f"  {sys.executable} -m worker --config {FOLDER}/worker.toml sync\n"
        '  curl -H "Content-Type: application/json" '
        f'-d \'{{"generation": 2, "faults": []}}\' {sandbox.control_url}control'
    )
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _worker(*arguments: str, expect: int = _PUBLISHED) -> None:
    """Run ``pts-worker`` with the demo's configuration and show its output.

    Raises:
        DemoFailedError: unexpected exit code.
    """
    print(f"\n$ pts-worker --config {FOLDER}/worker.toml {' '.join(arguments)}", flush=True)
    code = subprocess.run(_call(arguments), env=_environment(), check=False).returncode  # noqa: S603
    if code != expect:
        raise DemoFailedError(f"{arguments[0]} ended with exit code {code}, expected {expect}")


def _nights(sandbox: str) -> None:
    """Run the nights before tonight, in a process of their own.

    Raises:
        DemoFailedError: one could not be run.
    """
    module = ("-m", "worker.demo_nights", str(FOLDER / "worker.toml"), sandbox, str(_NIGHTS))
    if subprocess.run([sys.executable, *module], env=_environment(), check=False).returncode:  # noqa: S603
        raise DemoFailedError("a night could not be run")


def _call(arguments: Sequence[str]) -> list[str]:
    config = ("--config", str(FOLDER / "worker.toml"), "--log-level", "ERROR")
    return [sys.executable, "-m", "worker", *config, *arguments]


def _environment() -> dict[str, str]:
    """The environment without the caller's ``PTS_`` variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PTS_")}


def _say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
