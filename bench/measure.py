"""Programs run to their end, with wall time, processor time and the most memory each ever held."""

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
class Spent:
    """What one process took.

    Attributes:
        cpu_s: user and system time, of all its threads.
        peak_kib: the most that was resident.
        out: its standard output.
    """

    cpu_s: float
    peak_kib: int
    out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Processes that were started together.

    Attributes:
        wall_s: from the start of the first to the end of the last.
    """

    wall_s: float
    processes: tuple[Spent, ...]

    @property
    def cpu_s(self) -> float:
        """Of all processes."""
        return sum(one.cpu_s for one in self.processes)

    @property
    def peak_kib(self) -> int:
        """Of the largest process."""
        return max(one.peak_kib for one in self.processes)


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
    commands: Sequence[Sequence[str]],
    *,
    folder: Path,
    env: Mapping[str, str],
    cores: frozenset[int] = frozenset(),
) -> Measured:
    """Start all commands at once and wait for them; Linux only.

    Raises:
        FailedError: one ended with another code than 0, or did not end.
    """
    outs = [folder / f"out-{number}.txt" for number in range(len(commands))]
    err = folder / "err.txt"
    began_s = time.monotonic()
    with on_cores(cores), err.open("wb") as err_file:
        running = []
        for command, out in zip(commands, outs, strict=True):
            with out.open("wb") as out_file:
                running.append(
                    subprocess.Popen(
                        command,
                        cwd=folder,
                        env=dict(env),
                        stdin=subprocess.DEVNULL,
                        stdout=out_file,
                        stderr=err_file,
                    )
                )
    ends = _watch([one.pid for one in running], began_s)
    for one, end in zip(running, ends, strict=True):
        one.returncode = end.code
    bad = [end.code for end in ends if end.code]
    if bad:
        text = err.read_text(encoding="utf-8", errors="replace") + outs[0].read_text("utf-8")
        raise FailedError(f"{' '.join(commands[0])}: exit {bad[0]}\n{text[-3000:]}")
    return Measured(
        wall_s=max(end.at_s for end in ends) - began_s,
        processes=tuple(
            Spent(cpu_s=end.cpu_s, peak_kib=end.peak_kib, out=out.read_text(encoding="utf-8"))
            for end, out in zip(ends, outs, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _End:
    at_s: float
    code: int
    cpu_s: float
    peak_kib: int


def _watch(pids: Sequence[int], began_s: float) -> list[_End]:
    """Wait for all; the kernel wakes us the moment that one ends."""
    poll = select.poll()
    left = {os.pidfd_open(pid): pid for pid in pids}
    for handle in left:
        poll.register(handle, select.POLLIN)
    peaks = dict.fromkeys(pids, 0)
    ends: dict[int, _End] = {}
    while left:
        for pid in left.values():
            peaks[pid] = max(peaks[pid], _high_water_kib(pid))
        for handle, _ in poll.poll(_LOOK_MS):
            pid = left.pop(handle)
            poll.unregister(handle)
            os.close(handle)
            _, status, usage = os.wait4(pid, 0)
            ends[pid] = _End(
                time.monotonic(),
                os.waitstatus_to_exitcode(status),
                usage.ru_utime + usage.ru_stime,
                # Only for want of better: ru_maxrss begins with what the parent held.
                peaks[pid] or usage.ru_maxrss,
            )
        if time.monotonic() - began_s > _PATIENCE_S:
            for pid in left.values():
                os.kill(pid, 9)
            raise FailedError(f"still running after {_PATIENCE_S:.0f} s")
    return [ends[pid] for pid in pids]


def _high_water_kib(pid: int) -> int:
    """VmHWM of proc(5); 0 when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    value = text.partition("VmHWM:")[2].split(maxsplit=1)
    return int(value[0]) if value else 0
