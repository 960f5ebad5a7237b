"""Signals while a module is loaded, and while a command is at work that does not listen itself."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.errors import ExitCode

LOADING = """
import signal
import sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup, which the program honours
import worker.cli
from worker.__main__ import main

sys.path.insert(0, FOLDER)
worker.cli.run = lambda _arguments: __import__("half_made")
main()
"""
HALF_MADE = """
import os
import signal

class Descriptor:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.NUMBER)

try:
    class Half:
        descriptor = Descriptor()
except BaseException as error:
    print("an import met", repr(error), flush=True)
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_module_that_is_half_loaded_meets_no_exception(tmp_path: Path, number: str) -> None:
    """Python 3.11 wraps one that is raised while a class is made; some extensions crash."""
    (tmp_path / "half_made.py").write_text(HALF_MADE.replace("NUMBER", number))
    ended = subprocess.run(
        [sys.executable, "-c", LOADING.replace("FOLDER", repr(str(tmp_path)))],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (ExitCode.STOPPED, "", "")


BUSY = """
import signal
import time
import worker.cli
from worker.__main__ import main

def run(_arguments):
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("stopping", flush=True)
        time.sleep(STOPPING_S)

worker.cli.run = run
signal.signal(signal.SIGHUP, signal.SIG_DFL)
main()
"""


@pytest.mark.parametrize(
    ("number", "stopping_s", "signals"),
    [(signal.SIGTERM, 60, 2), (signal.SIGINT, 60, 2), (signal.SIGHUP, 0, 1)],
)
def test_a_command_is_stopped_and_a_second_signal_does_not_wait(
    number: signal.Signals, stopping_s: int, signals: int
) -> None:
    """75 and no traceback; at the second signal also in the middle of stopping."""
    code = BUSY.replace("STOPPING_S", str(stopping_s))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        before = ""
        for expected in ("at work\n", "stopping\n")[:signals]:
            line = process.stdout.readline()
            if line == before:  # the signal came before its write had returned: written twice
                line = process.stdout.readline()
            assert line == expected
            before = line
            process.send_signal(number)
        assert process.wait(30) == ExitCode.STOPPED
        assert process.stderr.read() == ""
