"""Several calls of the program in one process: a start costs more than most commands do."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tests.acceptance.program import PATIENCE_S, Ended, Installation, environment

_DRIVER = """
import json, os, sys
from worker.cli import run

folder = sys.argv[1]
calls, ended = json.load(open(f"{folder}/calls.json")), []
names = [f"{folder}/{name}" for name in ("stdin", "out", "err")]
for arguments, stdin in calls:
    with open(names[0], "w+") as given, open(names[1], "w+") as out, open(names[2], "w+") as err:
        given.write(stdin)
        given.seek(0)
        for file, descriptor in ((given, 0), (out, 1), (err, 2)):
            os.dup2(file.fileno(), descriptor)
        sys.stdin = open(0, closefd=False)
        code = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    ended.append((int(code), open(names[1]).read(), open(names[2]).read()))
json.dump(ended, open(f"{folder}/ended.json", "w"))
"""


def calls(
    worker: Installation, *lines: str | tuple[str, str], env: dict[str, str] | None = None
) -> list[Ended]:
    """Call ``pts-worker`` with the words of each line, one after the other.

    Args:
        worker: whose configuration.
        lines: arguments as in a shell; with what is to be read from standard input.
        env: more variables.
    """
    folder = worker.folder / "calls"
    folder.mkdir(exist_ok=True)
    pairs = [(line, "") if isinstance(line, str) else line for line in lines]
    words = [(["--config", str(worker.config), *shlex.split(line)], given) for line, given in pairs]
    (folder / "calls.json").write_text(json.dumps(words))
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, str(folder)],
        cwd=worker.folder,
        env=environment(**(env or {})),
        check=False,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert 0 == done.returncode, (folder / "err").read_text()
    ended = json.loads((folder / "ended.json").read_text())
    return [Ended(code=code, out=out, err=err, took_s=0.0) for code, out, err in ended]


def other_key(folder: Path) -> Path:
    """A pseudonym key that no store was begun with."""
    path = folder / "other.key"
    path.write_bytes(b"k" * 32)
    path.chmod(0o600)
    return path
