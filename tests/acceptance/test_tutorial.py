"""The commands of the tutorial and of the README end as their pages promise."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import DOCS, README, blocks, section
from tests.support.program import sandbox

pytestmark = pytest.mark.nightly

ENDS = re.compile(r"# ends with (\d+)\n")


def script(part: str) -> Iterator[str]:
    """The commands of a part of the tutorial in bash, which stops at the first wrong exit code."""
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    for block in blocks(section(page, part), "sh"):
        *checked, rest = ENDS.split(block)
        for commands, code in zip(checked[::2], checked[1::2], strict=True):
            *before, command = re.split(r"\n(?=pts-worker|python|wait)", f"\n{commands}")
            yield from before
            yield f"code=0; {{ {command}\n}} || code=$?"
            yield f'[ $code -eq {code} ] || {{ echo "$code is not {code}" >&2; exit 99; }}'
        yield rest


def typed(part: str, folder: Path, name: str, persons: int) -> str:
    """Type a part of the tutorial against a sandbox in a folder of this name; return its output."""
    lines = "\n".join(script(part))
    assert lines.count("|| code=$?") >= 14
    with sandbox(folder / name, "--persons", str(persons)) as served:
        lines = re.sub(r"http://127.0.0.1:\d+/_sandbox/control", served.control_url, lines)
        return in_bash(lines, folder)


def in_bash(lines: str, folder: Path, **env: str) -> str:
    """Run these lines, of which none may fail, and return their output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        check=False,
        cwd=folder,
        env={"PATH": path, "LANG": "C.UTF-8", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_first_hour_can_be_typed(tmp_path: Path):
    """Each command ends with the exit code in its comment."""
    output = typed("Part 1: your first hour", tmp_path, "hour", 200)
    assert "withheld, exit 5" in output
    assert "2 transient" in output
    assert (tmp_path / "hour" / "report.html").exists()


@pytest.mark.timeout(700)
def test_the_recovery_drills_can_be_typed(tmp_path: Path):
    """Killed, stopped, lost, rotated, withheld: each drill ends as on the page."""
    output = typed("Part 2: recovery drills", tmp_path, "drills", 60)
    ends = re.findall(
        r"run \d+ \(sync\): (\w+), exit (\d+) .*?( \(continued|$)", output, re.MULTILINE
    )
    fine, continued = ("published", "0", ""), ("published", "0", " (continued")
    stopped, withheld = ("interrupted", "75", ""), ("withheld", "5", "")
    assert ends == [fine, continued, stopped, continued, continued, fine, withheld, fine]
    assert '"state": "rotated"' in output


def test_the_first_run_of_the_readme_can_be_typed(tmp_path: Path):
    """Its commands and configuration work; addresses and client are the sandbox's."""
    page = section(README.read_text(encoding="utf-8"), "First real run")
    (configuration,) = blocks(page, "toml")
    commands = "\n".join(blocks(page, "sh"))
    assert commands.count("pts-worker ") >= 4
    folder = tmp_path / "night"
    folder.mkdir(mode=0o700)
    (folder / "what-is-below.toml").write_text(configuration, encoding="utf-8")
    registered = "cp ../hour/client-key.json helseid.jwk.json; cp ../hour/roster.csv .\n"
    written = "grep -q private_jwk_file worker.toml && cp what-is-below.toml worker.toml\n"
    commands += "\ncd .. && PTS_CONFIG=night/worker.toml pts-worker status --max-age 1h\n"
    lines = commands.replace("pts-worker db upgrade", f"{registered}{written}pts-worker db upgrade")
    with sandbox(tmp_path / "hour", "--persons", "20") as served:
        made = tomllib.loads((served.folder / "worker.toml").read_text(encoding="utf-8"))
        output = in_bash(
            lines,
            folder,
            PTS_API__BASE_URL=made["api"]["base_url"],
            PTS_HELSEID__ISSUER=made["helseid"]["issuer"],
            PTS_HELSEID__CLIENT_ID=made["helseid"]["client_id"],
        )
    assert "published, exit 0" in output
    assert oct((folder / "pts.db").stat().st_mode & 0o777) == "0o600"
