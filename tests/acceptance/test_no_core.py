"""The program leaves no core dump, whatever the machine and the shell are set to."""

import subprocess
import sys
from pathlib import Path

from tests.support.program import environment

_ABORT = """
import os, pathlib, resource, signal, subprocess, sys, time
unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
program = subprocess.Popen(
    [sys.executable, "-m", "worker", "sandbox", "--pts-port", "0"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited),
)
limits = pathlib.Path(f"/proc/{program.pid}/limits")
end_s = time.monotonic() + 60
while "Max core file size        0 " not in limits.read_text() and time.monotonic() < end_s:
    time.sleep(0.05)
time.sleep(0.2)
program.send_signal(signal.SIGABRT)
_, status = os.waitpid(program.pid, 0)
print(os.waitstatus_to_exitcode(status) == -signal.SIGABRT, os.WCOREDUMP(status))
"""


def test_no_core_is_dumped(tmp_path: Path):
    """Where cores are unlimited and a plain interpreter would leave one, the program does not."""
    ended = subprocess.run(
        [sys.executable, "-c", _ABORT],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "True False\n", ended.stderr
