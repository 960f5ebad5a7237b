"""The process behind ``tests/support/zygote.py``: loads the program, and forks it as ordered."""

import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.databases import share_compiled_statements
from tests.support.simulation.nth_call import undisturbed
from worker.cli import COMMANDS


def _warm() -> None:
    """Load what runs and most commands load."""
    for name in (
        "alembic.command",
        "asyncpg",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.aiosqlite",
        "uvloop",
        "worker.sandbox.serve",
        "worker.cli.checks",
        "worker.cli.openapi",
        "worker.scheduler",
        "worker.telemetry",
        "worker.cli.run_command",
        "worker.report.export",
        "worker.report.page",
        *(f"worker.cli.commands.{name}" for name in COMMANDS),
    ):
        import_module(name)
    share_compiled_statements()
    # A run compiles its statements: that takes a quarter of its time.
    assert undisturbed().ended


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
            part = Path(f"{path}.part")
            part.write_text(str(os.waitstatus_to_exitcode(status)))
            part.rename(path)


def _become(order: Mapping[str, Any]) -> None:
    """Be the program; does not return."""
    for descriptor, name in enumerate(order["files"]):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    if order["obeys_modes"]:
        _obey_modes()
    os.umask(0)  # what the program makes is private all the same
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    sys.argv = ["pts-worker", *order["arguments"]]
    exec(order["before"], {})  # noqa: S102 - a test's own
    if order["ends_as_python"]:
        import_module(order["module"]).main()
        sys.exit()
    code: Any = 1
    try:
        import_module(order["module"]).main()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _obey_modes() -> None:
    """Give up the right to pass over the modes of files (capabilities(7): CAP_DAC_...)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << 1 | 1 << 2)  # OVERRIDE, READ_SEARCH
    assert libc.capset(header, sets) == 0


if __name__ == "__main__":
    _warm()
    gc.freeze()
    _serve()
