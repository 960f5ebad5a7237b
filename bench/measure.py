"""A program run to its end, with wall time, processor time and the most memory it ever held."""

import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOOK_MS: Final = 20
_PATIENCE_S: Final = 900.0


class FailedError(Exception):
    """A program under measurement did not do what it was to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one process took.

    Attributes:
        wall_s: from its start to its end.
        cpu_s: user and system time, of all its threads.
        peak_kib: the most that was resident.
        out: its standard output.
    """

    wall_s: float
    cpu_s: float
    peak_kib: int
    out: str


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """What is started inside may run on these cores only; none given: on all of ours."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(
    command: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    cores: frozenset[int] = frozenset(),
) -> Measured:
    """Start the command and wait for its end; Linux only.

    Raises:
        FailedError: it ended with another code than 0, or did not end.
    """
    out, err = folder / "out.txt", folder / "err.txt"
    began_s = time.monotonic()
    with on_cores(cores), out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
        )
    peak_kib = _watch(process.pid, began_s)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    printed = out.read_text(encoding="utf-8")
    if process.returncode:
        text = err.read_text(encoding="utf-8", errors="replace") + printed
        raise FailedError(f"{' '.join(command)}: exit {process.returncode}\n{text[-3000:]}")
    return Measured(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        # Only for want of better: ru_maxrss begins with what the parent held.
        peak_kib=peak_kib or usage.ru_maxrss,
        out=printed,
    )


def _watch(pid: int, began_s: float) -> int:
    """Wait for its end, of which the kernel tells us at once; the most memory seen meanwhile."""
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    peak_kib = _high_water_kib(pid)
    while not poll.poll(_LOOK_MS):
        peak_kib = max(peak_kib, _high_water_kib(pid))
        if time.monotonic() - began_s > _PATIENCE_S:
            os.kill(pid, 9)
            raise FailedError(f"still running after {_PATIENCE_S:.0f} s")
    os.close(handle)
    return peak_kib


def _high_water_kib(pid: int) -> int:
    """VmHWM of proc(5); 0 when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    value = text.partition("VmHWM:")[2].split(maxsplit=1)
    return int(value[0]) if value else 0
