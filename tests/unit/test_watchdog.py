"""A process that was asked to stop, or should have ended, ends although its event loop is stuck."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.program import PATIENCE_S

_PROGRAM = """
import sys
import time
import anyio
from worker.cli.stopping import stoppable

how, deadline_s, loop = sys.argv[1], float(sys.argv[2]) or None, sys.argv[3]

async def work(stop):
    print("begun", flush=True)
    while how == "stuck":
        time.sleep(0.01)
    await stop.wait()
    print("stopping", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    return "ended"

print(anyio.run(lambda: stoppable(work, deadline_s=deadline_s),
                backend_options={"use_uvloop": loop == "uvloop"}))
"""


@contextmanager
def spawned(
    how: str,
    *,
    deadline_s: float = 0.0,
    loop: str = "asyncio",
    before: tuple[str, ...] = (),
) -> Iterator["subprocess.Popen[str]"]:
    """Start it, and wait until it is at work."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", _PROGRAM, how, str(deadline_s), loop],
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


@pytest.mark.promise("10")
@pytest.mark.parametrize(
    ("options", "asks", "why"),
    [
        ({"loop": "uvloop"}, signal.SIGTERM, "asked to stop"),
        ({"deadline_s": 0.5}, None, "beyond sync.deadline"),
    ],
)
def test_stuck_when_it_must_end(options, asks, why):
    """Code 75, and one line that says why; beyond the deadline nobody needs to ask."""
    with spawned("stuck", **options) as program:
        if asks is not None:
            program.send_signal(asks)
        _, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, err.count("\n")) == (75, 1), err
    assert re.sub(r"^pts-worker: (.+), and stuck for .+\n", r"\1", err) == why


@pytest.mark.parametrize(
    ("before", "signals"),
    [
        (("env", "--default-signal=HUP"), (signal.SIGHUP, signal.SIGHUP)),
        (("nohup",), (signal.SIGHUP, signal.SIGTERM)),
    ],
    ids=["closed", "left on purpose"],
)
def test_a_terminal_that_goes_away(before, signals):
    """SIGHUP asks for a stop once, however often it comes; under nohup(1) not at all.

    The loop turns, so that it is let run, also beyond the deadline.
    """
    first, second = signals
    with spawned("waiting", deadline_s=0.001, before=before) as program:
        program.send_signal(first)
        if second == signal.SIGHUP:
            heard(program, "stopping")
            program.send_signal(second)
        else:
            program.send_signal(second)
            heard(program, "stopping")
        out, err = program.communicate("\n", timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "ended\n"), err
