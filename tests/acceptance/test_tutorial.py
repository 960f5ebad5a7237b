"""The tutorial, typed as it stands, does what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.program import sandbox
from tests.architecture.documents import DOCS, blocks

ENDS = re.compile(r"# ends with (\d+)\n")


def script() -> Iterator[str]:
    """The tutorial's commands in bash, which stops at the first that ends otherwise."""
    yield "set -euo pipefail"
    for block in blocks((DOCS / "tutorial.md").read_text(encoding="utf-8"), "sh"):
        *checked, rest = ENDS.split(block)
        for commands, code in zip(checked[::2], checked[1::2], strict=True):
            *before, command = re.split(r"\n(?=pts-worker|python)", f"\n{commands}")
            yield from before
            yield f"code=0; {{ {command}\n}} || code=$?"
            yield f'[ $code -eq {code} ] || {{ echo "$code is not {code}" >&2; exit 99; }}'
        yield rest


def test_the_tutorial_can_be_typed(tmp_path: Path):
    """Each command ends with the code that its comment says."""
    lines = "\n".join(script())
    assert lines.count("|| code=$?") >= 14
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    with sandbox(tmp_path / "hour", "--persons", "200") as served:
        there = re.sub(r"http://127.0.0.1:\d+/_sandbox/", served.control_url, lines)
        done = subprocess.run(
            ["bash", "-c", there],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert 0 == done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    assert "withheld, exit 5" in done.stdout
    assert "2 transient" in done.stdout
    assert (tmp_path / "hour" / "report.html").exists()
