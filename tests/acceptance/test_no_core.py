"""The program leaves no core dump, whatever the machine and the shell are set to."""

import subprocess
import sys
from pathlib import Path

from tests.support.program import environment

_ABORT = """
import os, resource, signal, subprocess, sys
unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
program = subprocess.Popen(
    [sys.executable, "-m", "worker", "sandbox", "--pts-port", "0", "--helseid-port", "0"],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited),
)
program.stdout.readline()  # it serves
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
