"""The tutorial and the first night of the README, typed as they stand, do what they say."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.program import sandbox
from tests.architecture.documents import DOCS, README, blocks, section

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


def test_the_first_night_of_the_readme_can_be_typed(tmp_path: Path):
    """Its commands and configuration work; addresses and client are the sandbox's."""
    page = section(README.read_text(encoding="utf-8"), "First real night")
    (commands,), (configuration,) = blocks(page, "sh"), blocks(page, "toml")
    assert commands.count("pts-worker ") >= 7
    folder = tmp_path / "night"
    folder.mkdir(mode=0o700)
    (folder / "what-is-below.toml").write_text(configuration, encoding="utf-8")
    registered = "cp ../hour/client-key.json helseid.jwk.json; cp ../hour/roster.csv .\n"
    written = "grep -q private_jwk_file worker.toml && cp what-is-below.toml worker.toml\n"
    lines = commands.replace("pts-worker db upgrade", f"{registered}{written}pts-worker db upgrade")
    with sandbox(tmp_path / "hour", "--persons", "20") as served:
        made = tomllib.loads((served.folder / "worker.toml").read_text(encoding="utf-8"))
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "PTS_API__BASE_URL": made["api"]["base_url"],
            "PTS_HELSEID__ISSUER": made["helseid"]["issuer"],
            "PTS_HELSEID__CLIENT_ID": made["helseid"]["client_id"],
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines],
            check=False,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert 0 == done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    assert "published, exit 0" in done.stdout
    assert 0o600 == (folder / "pts.db").stat().st_mode & 0o777
