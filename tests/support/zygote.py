"""A warmed interpreter that forks the program: a start takes longer than most runs of these tests.

What is forked is a process like any other, with its own id, its own signals and its own end; only
the loading of modules is behind it. The parent has no threads and no event loop. What a start does
by itself is seen where the program is started afresh: ``test_cli_help``, the demo.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from threading import Lock
from typing import IO

from tests.support.program import REPOSITORY, environment

_numbers = count(1)


class ForkedProcess:
    """As much of ``subprocess.Popen`` as ``Running`` needs."""

    def __init__(self, pid: int, ended: Path) -> None:
        self.pid = pid
        self._ended = ended

    def poll(self) -> int | None:
        """Its exit code as ``Popen`` gives it; ``None`` while it lives."""
        return int(self._ended.read_text()) if self._ended.exists() else None

    def ended_s(self) -> float:
        """When it ended, in seconds as ``time.time()`` has them."""
        return self._ended.stat().st_mtime

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        end_s = time.monotonic() + (timeout or float("inf"))
        while time.monotonic() < end_s:
            code = self.poll()
            if code is not None:
                return code
            time.sleep(0.003)
        raise subprocess.TimeoutExpired("forked", timeout or 0.0)


@dataclass(kw_only=True)
class Zygote:
    """The parent of the runs."""

    process: subprocess.Popen[str]
    lock: Lock = field(default_factory=Lock)

    @classmethod
    def begin(cls) -> "Zygote":
        """Start it and wait until it is warm."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote_process"],
            cwd=REPOSITORY,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # without a terminal, wherever the tests run
        )
        made = cls(process=process)
        assert made._out.readline() == "warm\n"
        return made

    @property
    def _out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._out.close()

    def fork(
        self,
        module: str,
        *arguments: str,
        folder: Path,
        files: Sequence[Path],
        env: Mapping[str, str],
        obeys_modes: bool = False,
        ends_as_python: bool = False,
        before: str = "",
    ) -> "ForkedProcess":
        """Call ``main`` of a module with these arguments, its standard files, and an environment.

        Its exit code is kept beside its standard error; if that is a terminal, in the folder.
        ``obeys_modes``: a file that its mode protects is protected even if the tests are root.
        ``ends_as_python``: the interpreter takes itself down; else the process just ends.
        ``before``: code of the test's to run first.
        """
        beside = files[2] if files[2].is_file() else folder / "terminal"
        ended = beside.with_suffix(f".ended-{next(_numbers)}")
        order = {
            "module": module,
            "arguments": arguments,
            "folder": str(folder),
            "files": [str(path) for path in files],
            "env": dict(env),
            "obeys_modes": obeys_modes,
            "ends_as_python": ends_as_python,
            "before": before,
            "ended": str(ended),
        }
        assert self.process.stdin is not None
        with self.lock:
            self.process.stdin.write(json.dumps(order) + "\n")
            pid = int(self._out.readline())
        return ForkedProcess(pid, ended)


@cache
def the_zygote() -> Zygote:
    """One for all tests of this process."""
    made = Zygote.begin()
    atexit.register(made.end)
    return made
