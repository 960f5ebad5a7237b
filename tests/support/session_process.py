"""The process of a session: calls the program for each order that it reads, and answers."""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from worker.cli import run


def main() -> None:
    """Serve until there are no more orders; the folder for its files is the first argument."""
    spawned: list[str] = []
    written: set[str] = set()

    def watch(event: str, given: tuple[Any, ...]) -> None:
        # What the program starts, and where it writes by itself.
        if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system"):
            spawned.append(repr(given))
        elif event == "open" and isinstance(given[0], str) and given[2] & (os.O_WRONLY | os.O_RDWR):
            written.add(str(Path.cwd() / given[0]))

    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    files = [Path(sys.argv[1]) / name for name in ("stdin", "out", "said")]
    sys.addaudithook(watch)
    os.umask(0o077)  # as the program's first lines do
    for line in orders:
        order = json.loads(line)
        scope: dict[str, Any] = {}
        exec(order["before"], scope)  # noqa: S102 - a test's own
        reported = {"code": _called(order, files), "scope": scope.get("reported")}
        reported |= {"out": files[1].read_text(), "err": files[2].read_text()}
        reported |= {"spawned": spawned, "written": sorted(written)}
        print(json.dumps(reported), file=answers, flush=True)
        scope.get("restore", int)()


def _called(order: dict[str, Any], files: list[Path]) -> int:
    files[0].write_text(order["stdin"])
    with ExitStack() as stack:
        for descriptor, (path, mode) in enumerate(zip(files, ("r", "w", "w"), strict=True)):
            os.dup2(stack.enter_context(path.open(mode)).fileno(), descriptor)
        sys.stdin = os.fdopen(0, closefd=False)
        code = int(run(order["words"]))
        sys.stdout.flush()
        sys.stderr.flush()
    return code
