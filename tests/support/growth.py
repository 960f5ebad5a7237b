"""Whether a call takes time in proportion to what it is given."""

import gc
import time
from collections.abc import Callable

QUICK_S = 0.05
RATIO_MAX = 24
"""For eight times as much: eight, if time grows with it, and 64, if it grows with its square."""


def processor_s(call: Callable[[], object]) -> float:
    """Seconds of this thread that the call takes; the collector waits meanwhile.

    A full collection in a process that has run thousands of tests takes 0.2 s by itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began_s = time.thread_time()
        call()
        return time.thread_time() - began_s
    finally:
        if was_enabled:
            gc.enable()


def grows_too_fast(call: Callable[[int], object], size: int) -> bool:
    """Whether the call takes more than proportionally longer for this size than for an eighth.

    What is done in an instant is never too slow, and of three tries the best one counts: so no
    other load of the machine decides.
    """
    for _ in range(3):
        whole_s = processor_s(lambda: call(size))
        if whole_s < QUICK_S:
            return False
        if whole_s < RATIO_MAX * processor_s(lambda: call(size // 8)):
            return False
    return True
