"""How much memory a run takes."""

import time
from pathlib import Path

from tests.support.program import Running

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
