"""How much memory a run takes: ``python -m tests.support.secrecy.memory [PERSONS ...]``.

Runs the program against the project's sandbox with rosters of different sizes, each in a folder of
its own, and prints the most that each run ever held.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.support.program import Running, sandbox

SIZES = (5_000, 50_000)
PATIENCE_S = 1_800.0


def peak_of(running: Running, patience_s: float = PATIENCE_S) -> float:
    """The most memory that a process held until its end, in millions of bytes: proc(5), VmHWM.

    ``ru_maxrss`` will not do: it begins with what the parent held.
    """
    peak = 0
    status = Path(f"/proc/{running.process.pid}/status")
    end_s = time.monotonic() + patience_s
    while running.process.poll() is None and time.monotonic() < end_s:
        text = status.read_text(encoding="ascii", errors="replace")
        if "VmHWM:" in text:
            peak = max(peak, int(text.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.02)
    return peak * 1024 / 1e6


def measure(folder: Path, persons: int) -> tuple[float, float]:
    """The peak in millions of bytes and the seconds of a run over so many persons."""
    with sandbox(folder / "sandbox", "--persons", str(persons)) as world:
        url = f"sqlite:///{folder / 'pts.db'}"
        worker = world.install(folder / "worker", url)
        migrated = worker.run("db", "upgrade")
        assert migrated.code == 0, migrated.story()
        running = worker.start("sync", afresh=True)
        peak = peak_of(running)
        ended = running.wait(PATIENCE_S)
    total = ended.run["totals"]["persons_complete"]
    if ended.code != 0 or total != persons:
        raise SystemExit(f"exit {ended.code} after {total} persons: {ended.err[-2000:]}")
    return peak, ended.took_s


def main(sizes: tuple[int, ...]) -> None:
    """Measure each, and print it."""
    peaks = []
    for persons in sizes:
        with tempfile.TemporaryDirectory(prefix="pts-memory-") as folder:
            peak, took_s = measure(Path(folder), persons)
        peaks.append(peak)
        print(f"{persons:>9,} persons: peak {peak:6.1f} MB, {took_s:6.1f} s", flush=True)  # noqa: T201
    print(f"difference: {max(peaks) - min(peaks):.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main(tuple(int(text.replace("_", "")) for text in sys.argv[1:]) or SIZES)
