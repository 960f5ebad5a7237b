"""How a run is asked to stop: by a signal, and by none that comes of itself."""

import signal
import subprocess
import sys
from subprocess import PIPE

import pytest

from tests.support.program import PATIENCE_S

_PROGRAM = """
import sys
import anyio
from worker.cli.run_command import stoppable

async def work(stop):
    print("begun", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    return "ended"

print(anyio.run(lambda: stoppable(work, anyio.sleep_forever)))
"""


def heard(program: "subprocess.Popen[str]", line: str) -> None:
    """Wait for the next line of its output, which is this one."""
    assert program.stdout is not None
    assert program.stdout.readline() == f"{line}\n"


@pytest.mark.parametrize(
    ("before", "signals"),
    [
        (("env", "--default-signal=HUP"), (signal.SIGHUP, signal.SIGHUP)),
        (("nohup",), (signal.SIGHUP, signal.SIGTERM)),
    ],
    ids=["closed", "left on purpose"],
)
def test_a_terminal_that_goes_away(before, signals):
    """SIGHUP asks for a stop once, however often it comes; under nohup(1) not at all."""
    first, second = signals
    words = [*before, sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as program:
        try:
            heard(program, "begun")
            program.send_signal(first)
            if second != signal.SIGHUP:
                program.send_signal(second)
            heard(program, "stopping")
            if second == signal.SIGHUP:
                program.send_signal(second)
            out, err = program.communicate("\n", timeout=PATIENCE_S)
        finally:
            program.kill()
    assert (program.returncode, out) == (0, "ended\n"), err
