"""A warmed interpreter that forks the program: a start takes longer than most runs of these tests.

What is forked is a process like any other, with its own id, its own signals and its own end; only
the loading of modules is behind it. The parent has no threads and no event loop. What a start does
by itself is seen where the program is started afresh: ``test_cli_help``, ``calls``, the demo.
"""

import atexit
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import count
from pathlib import Path
from threading import Lock
from typing import IO, Any

from tests.acceptance.program import REPOSITORY, Running, environment
from worker.cli.main import COMMANDS

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
        """When it ended, as ``time.time()`` tells it."""
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
            [sys.executable, "-m", "tests.crash.zygote"],
            cwd=REPOSITORY,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        made = cls(process=process)
        assert "warm\n" == made._out.readline()
        return made

    @property
    def _out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def end(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._out.close()

    def start(
        self,
        *arguments: str,
        folder: Path,
        obeys_modes: bool = False,
        stdin: Path | None = None,
    ) -> Running:
        """Start ``pts-worker`` with these arguments in this folder.

        ``obeys_modes``: a file that its mode protects is protected even if the tests are root.
        """
        number = next(_numbers)
        names = {name: folder / f"{name}-f{number}.txt" for name in ("out", "err", "ended")}
        order: dict[str, Any] = {
            "arguments": arguments,
            "folder": str(folder),
            "env": environment(),
        }
        order |= {"obeys_modes": obeys_modes, "in": str(stdin or os.devnull)}
        order |= {name: str(path) for name, path in names.items()}
        for name in ("out", "err"):
            names[name].touch()
        assert self.process.stdin is not None
        with self.lock:
            self.process.stdin.write(json.dumps(order) + "\n")
            pid = int(self._out.readline())
        process: Any = ForkedProcess(pid, names["ended"])
        return Running(
            process=process, out=names["out"], err=names["err"], began_s=time.monotonic()
        )


@cache
def the_zygote() -> Zygote:
    """One for all tests of this process."""
    made = Zygote.begin()
    atexit.register(made.end)
    return made


def _warm() -> None:
    """Load what runs and most commands load."""
    for name in (
        "alembic.command",
        "asyncpg",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.aiosqlite",
        "uvloop",
        "worker.sandbox.serve",
        *(f"worker.cli.commands.{name}" for name in COMMANDS),
        *(f"worker.cli.{name}" for name in COMMANDS if name != "help"),
    ):
        import_module(name)


def _serve() -> None:
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, Path] = {}
    _say("warm")
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 1000)
            _reap(children)
        if 0 in ready:
            line = sys.stdin.readline()
            if not line:
                return
            order = json.loads(line)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(woken)
                os.close(wake)
                _become(order)
            children[pid] = Path(order["ended"])
            _say(str(pid))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _reap(children: dict[int, Path]) -> None:
    for pid in tuple(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            path = children.pop(pid)
            part = path.with_suffix(".part")
            part.write_text(str(os.waitstatus_to_exitcode(status)))
            part.rename(path)


def _become(order: Mapping[str, Any]) -> None:
    """Be the program; does not return."""
    for descriptor, name in ((0, order["in"]), (1, order["out"]), (2, order["err"])):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    if order["obeys_modes"]:
        _obey_modes()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    sys.argv = ["pts-worker", *order["arguments"]]
    code: Any = 70
    try:
        from worker.__main__ import main

        main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _obey_modes() -> None:
    """Give up the right to pass over the modes of files (capabilities(7): CAP_DAC_...)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert 0 == libc.capget(header, sets)
    sets[0] &= ~(1 << 1 | 1 << 2)  # OVERRIDE, READ_SEARCH
    assert 0 == libc.capset(header, sets)


if __name__ == "__main__":
    _warm()
    _serve()
