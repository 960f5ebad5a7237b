"""The program leaves no core dump, whatever the machine and the shell are set to."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.acceptance.program import environment, wait_for

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def dies_with_a_core(*command: str, folder: Path) -> bool:
    """Start it where cores are unlimited, abort it, and ask the kernel whether it dumped one."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, _UNLIMITED),  # noqa: PLW1509
    )
    limits = Path(f"/proc/{process.pid}/limits")
    if "worker" in command:
        wait_for(lambda: "Max core file size        0 " in limits.read_text(), "the limit")
    time.sleep(0.2)
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stdin is not None:
        process.stdin.close()
    assert signal.SIGABRT == -process.returncode
    return os.WCOREDUMP(status)


def test_no_core_is_dumped(tmp_path: Path):
    """Where a plain interpreter would leave one, the program, amid a command, does not."""
    waiting = (sys.executable, "-m", "worker", "sandbox", "--port", "0")
    assert not dies_with_a_core(*waiting, folder=tmp_path)
