"""Several calls of the program in one process: a start costs more than most commands do."""

import contextlib
import json
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.program import PATIENCE_S, Ended, Installation, environment

_DRIVER = """
import json, os, sys
from worker.cli import run

folder, spawned, written = sys.argv[1], [], []

def watch(event, given):
    # What the program starts, and where it writes by itself.
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system"):
        spawned.append(repr(given))
    elif event == "open" and isinstance(given[0], str) and given[2] & (os.O_WRONLY | os.O_RDWR):
        written.append(os.path.abspath(given[0]))

orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
names = [f"{folder}/{name}" for name in ("stdin", "out", "err")]
sys.addaudithook(watch)
for line in orders:
    order = json.loads(line)
    exec(order["before"], scope := {})
    with open(names[0], "w+") as given, open(names[1], "w+") as out, open(names[2], "w+") as err:
        given.write(order["stdin"])
        given.seek(0)
        for file, descriptor in ((given, 0), (out, 1), (err, 2)):
            os.dup2(file.fileno(), descriptor)
        sys.stdin = open(0, closefd=False)
        code = run(order["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    told = {
        "code": int(code), "out": open(names[1]).read(), "err": open(names[2]).read(),
        "spawned": spawned, "written": sorted(set(written)), "scope": scope.get("told"),
    }
    print(json.dumps(told), file=answers, flush=True)
    scope.get("restore", int)()
"""


@dataclass(kw_only=True)
class Session:
    """The program in one process, called again and again; the test may change the world between.

    Attributes:
        process: that process.
        spawned: the processes that it started, as Python's audit events tell.
        written: the files that it opened for writing.
        told: what the code before the last call has left in ``told``.
    """

    worker: Installation
    process: subprocess.Popen[str]
    spawned: Sequence[str] = ()
    written: Sequence[str] = ()
    told: Any = None

    def call(self, line: str, stdin: str = "", *, before: str = "") -> Ended:
        """Call ``pts-worker`` with the words of a line, as in a shell.

        Args:
            line: the arguments.
            stdin: what is to be read from standard input.
            before: code to run first in that process; may set ``told`` and ``restore``, which is
                called afterwards.
        """
        self.begin(line, stdin, before=before)
        return self.end()

    def begin(self, line: str, stdin: str = "", *, before: str = "") -> None:
        """The beginning of a call that is to be stopped from outside."""
        words = ["--config", str(self.worker.config), *shlex.split(line)]
        assert self.process.stdin is not None
        json.dump({"words": words, "stdin": stdin, "before": before}, self.process.stdin)
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> Ended:
        """Wait for its end."""
        answers = self.process.stdout
        assert answers is not None
        ready, _, _ = select.select([answers], [], [], PATIENCE_S)
        answer = answers.readline() if ready else ""
        assert answer, (self.worker.folder / "calls" / "err").read_text()
        told = json.loads(answer)
        self.spawned, self.written, self.told = told["spawned"], told["written"], told["scope"]
        return Ended(
            code=told["code"],
            out=told["out"],
            err=told["err"],
            took_s=0.0,
            folder=self.worker.folder,
        )


@contextlib.contextmanager
def session(worker: Installation, env: Mapping[str, str] | None = None) -> Iterator[Session]:
    """A process that waits for calls.

    Args:
        worker: whose configuration.
        env: more variables.
    """
    folder = worker.folder / "calls"
    folder.mkdir(exist_ok=True)
    with (
        (folder / "err").open("w") as err,
        subprocess.Popen(
            [sys.executable, "-c", _DRIVER, str(folder)],
            cwd=worker.folder,
            env=environment(**(env or {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        ) as process,
    ):
        try:
            yield Session(worker=worker, process=process)
            assert process.stdin is not None
            process.stdin.close()
            assert 0 == process.wait(PATIENCE_S)
        finally:
            process.kill()


def calls(
    worker: Installation, *lines: str | tuple[str, str], env: Mapping[str, str] | None = None
) -> list[Ended]:
    """Call ``pts-worker`` with the words of each line, one after the other.

    Args:
        worker: whose configuration.
        lines: arguments as in a shell; with what is to be read from standard input.
        env: more variables.
    """
    pairs = [(line, "") if isinstance(line, str) else line for line in lines]
    with session(worker, env) as made:
        return [made.call(line, given) for line, given in pairs]


def other_key(folder: Path) -> Path:
    """A pseudonym key that no store was begun with."""
    path = folder / "other.key"
    path.write_bytes(bytes((5 * n * n + 1) % 256 for n in range(48)))
    path.chmod(0o600)
    return path
