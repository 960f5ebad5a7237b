"""Forks the program from a warmed interpreter: a start takes longer than most runs of these tests.

On two busy cores, the tests of ``test_guard`` and ``test_cli_status`` take 69 s with it, and 193 s
without.

What is forked is a process like any other, with its own id, its own signals and its own end; only
the loading of modules is behind it (``warmed.py``). What a start does by itself is seen where the
program is started afresh: ``test_cli_help``, the demo.
"""

import atexit
import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from threading import Lock

from worker.__main__ import main

_lock = Lock()
"""An exit code can be read once, and every start reads those of all that have ended."""


class ForkedProcess:
    """As much of ``subprocess.Popen`` as ``Running`` needs."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        with _lock:
            process.start()
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        """Its exit code as ``Popen`` gives it; ``None`` while it lives."""
        with _lock:
            return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("forked", timeout or 0.0)
        return code


def fork(
    *arguments: str,
    folder: Path,
    files: Sequence[Path],
    env: Mapping[str, str],
    obeys_modes: bool = False,
    before: str = "",
) -> ForkedProcess:
    """Call the program with these arguments, its standard files, and an environment.

    ``obeys_modes``: a file that its mode protects is protected even if the tests are root.
    ``before``: code of the test's to run first.
    """
    options = {"folder": folder, "files": files, "env": dict(env)}
    options |= {"obeys_modes": obeys_modes, "before": before}
    return ForkedProcess(_server().Process(target=_become, args=arguments, kwargs=options))


@cache
def _server() -> ForkServerContext:
    """One for all tests of this process."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.support.warmed"])
    with contextlib.chdir(Path(__file__).parents[2]):  # it finds the module there
        forkserver.ensure_running()
    atexit.register(_kill_all)
    return made


def _kill_all() -> None:
    """What tests that failed have left behind: multiprocessing would wait for its end."""
    for process in multiprocessing.active_children():
        process.kill()


def _become(
    *arguments: str,
    folder: Path,
    files: Sequence[Path],
    env: Mapping[str, str],
    obeys_modes: bool,
    before: str,
) -> None:
    """Be the program."""
    assert "tests.support.warmed" in sys.modules, "the fork server could not load the program"
    for descriptor, name in enumerate(files):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as it lives
    if obeys_modes:
        _obey_modes()
    os.setsid()  # without a terminal, wherever the tests run
    os.umask(0)  # what the program makes is private all the same
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["pts-worker", *arguments]
    exec(before, {})  # noqa: S102 - a test's own
    main()


def _obey_modes() -> None:
    """Give up the right to pass over the modes of files (capabilities(7): CAP_DAC_...)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << 1 | 1 << 2)  # OVERRIDE, READ_SEARCH
    assert libc.capset(header, sets) == 0
