"""A process that was asked to stop, or should have ended, ends although its event loop is stuck."""

import signal
import subprocess
import sys
import time

import pytest

_PROGRAM = """
import sys
import time
import anyio
from worker.cli.progress import stoppable
from worker.runtime import real_runtime

async def work(stop):
    print("begun", flush=True)
    while sys.argv[1] == "stuck":
        time.sleep(0.01)
    while sys.argv[1] == "slow":
        time.sleep(2)
        await anyio.sleep(0.1)
    await stop.wait()
    if sys.argv[1] == "ending":
        await anyio.sleep(1.5)
    return "ended"

deadline_s = float(sys.argv[2]) or None
print(anyio.run(lambda: stoppable(work, real_runtime(), deadline_s=deadline_s),
                backend_options={"use_uvloop": sys.argv[3] == "uvloop"}))
"""


def start(
    how: str, deadline_s: float = 0.0, loop: str = "asyncio", before: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    program = subprocess.Popen(
        [*before, sys.executable, "-c", _PROGRAM, how, str(deadline_s), loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert "begun\n" == program.stdout.readline()
    return program


@pytest.mark.parametrize(
    ("how", "number", "loop"),
    [
        ("stuck", signal.SIGTERM, "uvloop"),
        ("stuck", signal.SIGINT, "asyncio"),
        ("slow", signal.SIGTERM, "asyncio"),  # the loop turns, but seldom
    ],
)
def test_stuck_or_slow_when_asked_to_stop(how, number, loop):
    """Code 75 soon, and one line that says why."""
    program = start(how, loop=loop)
    began_s = time.monotonic()
    program.send_signal(number)
    _, err = program.communicate(timeout=90)
    assert 75 == program.returncode, err
    assert time.monotonic() - began_s < 20  # 10, and a busy machine
    assert err.startswith("pts-worker: asked to stop, and stuck for ")
    assert 1 == err.count("\n")


def test_stuck_beyond_the_deadline():
    """Nobody needs to ask."""
    program = start("stuck", 0.5)
    _, err = program.communicate(timeout=90)
    assert 75 == program.returncode, err
    assert err.startswith("pts-worker: beyond sync.deadline, and stuck for ")


def test_a_terminal_that_is_closed():
    """SIGHUP asks for a stop once, however often it comes."""
    program = start("ending", before=("env", "--default-signal=HUP"))
    program.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    program.send_signal(signal.SIGHUP)
    out, err = program.communicate(timeout=90)
    assert (0, "ended\n", "") == (program.returncode, out, err)


def test_a_terminal_that_was_left_on_purpose():
    """Under nohup(1), SIGHUP stops nothing."""
    program = start("waiting", before=("nohup",))
    program.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert program.poll() is None
    program.send_signal(signal.SIGTERM)
    out, _ = program.communicate(timeout=90)
    assert (0, "ended\n") == (program.returncode, out)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_that_turns_ends_by_itself(loop):
    """The event is set, and the watchdog keeps out of it, also beyond the deadline."""
    program = start("waiting", 0.1, loop)
    time.sleep(0.5)
    program.send_signal(signal.SIGTERM)
    out, err = program.communicate(timeout=90)
    assert (0, "ended\n", "") == (program.returncode, out, err)
