"""Nights of the demo before today: ``python -m worker.demo_nights CONFIG SANDBOX NIGHTS``.

Each is a run like any other, against the sandbox. Its clock and the sandbox's are set back alike.

On SQLite, as the demo has it: a PostgreSQL server dates publications by its own clock, all today.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import httpx

from worker.app import App
from worker.cli.run_sync import RunRequest, run_sync
from worker.config import load
from worker.logs import configure
from worker.ports import Runtime, real_runtime

_DAY: Final = timedelta(days=1)
_SPEED: Final = 10.0
_FAULTS: Final[dict[int, dict[str, Any]]] = {
    # A night on which PTS was broken for many: the guard withholds what it says.
    9: {"action": "empty_list", "area": "patient-safety", "persons": [*range(120)]},
    # Nights on which some could not be read.
    5: {"action": "html", "area": "patient-privacy", "persons": [*range(20, 32)]},
    16: {"action": "html", "area": "patient-safety", "persons": [*range(40, 49)]},
    23: {"action": "html", "area": "patient-safety", "persons": [*range(80, 86)]},
}
"""By the number of nights before today."""


def main() -> int:
    """Run the nights; print how each ended."""
    config, sandbox, nights = sys.argv[1:]
    anyio.run(_run_all, Path(config), sandbox, int(nights))
    return 0


async def _run_all(config: Path, sandbox: str, nights: int) -> None:
    loaded = load(
        {"log.level": "ERROR"},
        environ=os.environ,
        cwd=Path.cwd(),
        config_path=config,
        flag_names={},
        purpose="sync",
    )
    configure("ERROR", "console")
    async with httpx.AsyncClient() as http:
        for back in range(nights, 0, -1):
            shift = _DAY * back
            fault = _FAULTS.get(back)
            settings = {
                "clock_skew_s": -shift.total_seconds(),
                "generation": nights - back,
                "faults": [fault] if fault else [],
            }
            (await http.post(f"{sandbox}/_sandbox/control", json=settings)).raise_for_status()
            app = App(loaded=loaded, runtime=_set_back(shift))
            report = await run_sync(app, RunRequest(), stop=anyio.Event())
            print(
                f"  {app.runtime.now():%d.%m.}  run {report.run_id:>2}  {report.status}, "
                f"exit {int(report.exit_code)}",
                flush=True,
            )


def _set_back(shift: timedelta) -> Runtime:
    """The real runtime with an earlier wall clock, in which waiting takes a tenth of its time.

    Each night waits before its second reads, and for those who could not be read.
    """
    real = real_runtime()
    return Runtime(
        now=lambda: real.now() - shift,
        monotonic=lambda: real.monotonic() * _SPEED,
        sleep=lambda wait_s: real.sleep(wait_s / _SPEED),
        uniform=real.uniform,
        new_id=real.new_id,
    )


if __name__ == "__main__":
    sys.exit(main())
