"""A process that was asked to stop, or should have ended, ends although its event loop is stuck."""

import re
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


def spawn(
    how: str, deadline_s: float = 0.0, loop: str = "asyncio", before: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*before, sys.executable, "-c", _PROGRAM, how, str(deadline_s), loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(*programs: "subprocess.Popen[str]") -> None:
    """Wait until each is at work."""
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"


@pytest.mark.promise("10")
def test_stuck_or_slow_when_asked_to_stop():
    """Code 75 soon, and one line that says why; beyond the deadline nobody needs to ask."""
    programs = [
        spawn("stuck", loop="uvloop"),
        spawn("stuck"),
        spawn("slow"),  # the loop turns, but seldom
        spawn("stuck", 0.5),
    ]
    begun(*programs)
    began_s = time.monotonic()
    for program, number in zip(
        programs[:3], (signal.SIGTERM, signal.SIGINT, signal.SIGTERM), strict=True
    ):
        program.send_signal(number)
    errors = []
    for program in programs:
        errors.append(program.communicate(timeout=90)[1])
        assert program.returncode == 75, errors
    assert time.monotonic() - began_s < 20  # 10, and a busy machine
    assert [error.count("\n") for error in errors] == [1] * 4
    assert [re.sub(r"^pts-worker: (.+), and stuck for .+\n", r"\1", error) for error in errors] == [
        "asked to stop"
    ] * 3 + ["beyond sync.deadline"]


def test_a_terminal_that_is_closed():
    """SIGHUP asks for a stop once, however often it comes."""
    program = spawn("ending", before=("env", "--default-signal=HUP"))
    begun(program)
    program.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    program.send_signal(signal.SIGHUP)
    out, err = program.communicate(timeout=90)
    assert (program.returncode, out, err) == (0, "ended\n", "")


def test_a_terminal_that_was_left_on_purpose():
    """Under nohup(1), SIGHUP stops nothing."""
    program = spawn("waiting", before=("nohup",))
    begun(program)
    program.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert program.poll() is None
    program.send_signal(signal.SIGTERM)
    out, _ = program.communicate(timeout=90)
    assert (program.returncode, out) == (0, "ended\n")


def test_a_loop_that_runs_ends_by_itself():
    """The event is set, and the watchdog keeps out of it, also beyond the deadline."""
    programs = [spawn("waiting", 0.1, loop) for loop in ("asyncio", "uvloop")]
    begun(*programs)
    time.sleep(0.5)
    for program in programs:
        program.send_signal(signal.SIGTERM)
    for program in programs:
        out, err = program.communicate(timeout=90)
        assert (program.returncode, out, err) == (0, "ended\n", "")
