"""Several calls of the program in one process, and what the process did meanwhile."""

import contextlib
import json
import os
import select
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.support.program import (
    PATIENCE_S,
    Ended,
    Installation,
    TimeLimitError,
    environment,
)
from tests.support.zygote import ForkedProcess, the_zygote


@dataclass(kw_only=True)
class Session:
    """The program in one process, called again and again; the test may change the world between.

    Attributes:
        process: that process.
        orders, answers: what it reads and writes.
        spawned: the processes that it started, as Python's audit events tell.
        written: the files that it opened for writing.
        reported: what the code before the last call has left in ``reported``.
    """

    worker: Installation
    process: ForkedProcess
    orders: IO[str]
    answers: IO[str]
    spawned: Sequence[str] = ()
    written: Sequence[str] = ()
    reported: Any = None

    def call(self, line: str, stdin: str = "", *, before: str = "") -> Ended:
        """Call ``pts-worker`` with the words of a line, as in a shell.

        Args:
            line: the arguments.
            stdin: what is to be read from standard input.
            before: code to run first in that process; may set ``reported``, and ``restore``,
                called afterwards.
        """
        self.begin(line, stdin, before=before)
        return self.end()

    def begin(self, line: str, stdin: str = "", *, before: str = "") -> None:
        """The beginning of a call that is to be stopped from outside."""
        words = ["--config", str(self.worker.config), *shlex.split(line)]
        json.dump({"words": words, "stdin": stdin, "before": before}, self.orders)
        self.orders.write("\n")
        self.orders.flush()

    def end(self) -> Ended:
        """Wait for its end."""
        ready, _, _ = select.select([self.answers], [], [], PATIENCE_S)
        if not ready:
            raise TimeLimitError("no answer from the session's process", PATIENCE_S)
        answer = self.answers.readline()
        assert answer, (self.worker.folder / "calls" / "err").read_text()
        reported = json.loads(answer)
        self.spawned, self.written, self.reported = (
            reported["spawned"],
            reported["written"],
            reported["scope"],
        )
        return Ended(
            code=reported["code"],
            out=reported["out"],
            err=reported["err"],
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
    files = {name: folder / name for name in ("orders", "answers", "err")}
    for name in ("orders", "answers"):
        files[name].unlink(missing_ok=True)
        os.mkfifo(files[name])
    process = the_zygote().fork(
        "tests.support.session_process",
        str(folder),
        folder=worker.folder,
        files=(files["orders"], files["answers"], files["err"]),
        env=environment(**(env or {})),
    )
    try:
        with files["orders"].open("w") as orders, files["answers"].open() as answers:
            yield Session(worker=worker, process=process, orders=orders, answers=answers)
        assert process.wait(PATIENCE_S) == 0
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
