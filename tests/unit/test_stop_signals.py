"""How a run is asked to stop: by a signal, and by none that comes of itself."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def spawned(*before: str) -> Iterator["subprocess.Popen[str]"]:
    """Start it, and wait until it is at work."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            heard(program, "begun")
            yield program
        finally:
            program.kill()


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
    with spawned(*before) as program:
        program.send_signal(first)
        if second == signal.SIGHUP:
            heard(program, "stopping")
            program.send_signal(second)
        else:
            program.send_signal(second)
            heard(program, "stopping")
        out, err = program.communicate("\n", timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "ended\n"), err
