"""Tutorial, drills and the first night of the README, typed as they stand, do what they say."""

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


def script(page: Path) -> Iterator[str]:
    """A page's commands in bash, which stops at the first that ends otherwise."""
    for block in blocks(page.read_text(encoding="utf-8"), "sh"):
        *checked, rest = ENDS.split(block)
        for commands, code in zip(checked[::2], checked[1::2], strict=True):
            *before, command = re.split(r"\n(?=pts-worker|python|wait)", f"\n{commands}")
            yield from before
            yield f"code=0; {{ {command}\n}} || code=$?"
            yield f'[ $code -eq {code} ] || {{ echo "$code is not {code}" >&2; exit 99; }}'
        yield rest


def typed(page: Path, folder: Path, name: str, persons: int) -> str:
    """Type a page against a sandbox in a folder of this name; what it prints."""
    lines = "\n".join(script(page))
    assert lines.count("|| code=$?") >= 14
    with sandbox(folder / name, "--persons", str(persons)) as served:
        lines = re.sub(r"http://127.0.0.1:\d+/_sandbox/control", served.control_url, lines)
        return in_bash(lines, folder)


def in_bash(lines: str, folder: Path, **env: str) -> str:
    """What these lines print, of which none may fail."""
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


def test_the_tutorial_can_be_typed(tmp_path: Path):
    """Each command ends with the code that its comment says."""
    said = typed(DOCS / "tutorial.md", tmp_path, "hour", 200)
    assert "withheld, exit 5" in said
    assert "2 transient" in said
    assert (tmp_path / "hour" / "report.html").exists()


@pytest.mark.timeout(700)
def test_the_recovery_drills_can_be_typed(tmp_path: Path):
    """Killed, stopped, lost, rotated, withheld: each ends as the page says, and goes on."""
    said = typed(DOCS / "recovery-drills.md", tmp_path, "drills", 60)
    ends = re.findall(
        r"run \d+ \(sync\): (\w+), exit (\d+) .*?( \(continued|$)", said, re.MULTILINE
    )
    fine, continued = ("published", "0", ""), ("published", "0", " (continued")
    stopped, withheld = ("interrupted", "75", ""), ("withheld", "5", "")
    assert ends == [fine, continued, stopped, continued, continued, fine, withheld, fine]
    assert '"state": "rotated"' in said


def test_the_first_run_of_the_readme_can_be_typed(tmp_path: Path):
    """Its commands and configuration work; addresses and client are the sandbox's."""
    page = section(README.read_text(encoding="utf-8"), "First real run")
    (commands,), (configuration,) = blocks(page, "sh"), blocks(page, "toml")
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
        said = in_bash(
            lines,
            folder,
            PTS_API__BASE_URL=made["api"]["base_url"],
            PTS_HELSEID__ISSUER=made["helseid"]["issuer"],
            PTS_HELSEID__CLIENT_ID=made["helseid"]["client_id"],
        )
    assert "published, exit 0" in said
    assert oct((folder / "pts.db").stat().st_mode & 0o777) == "0o600"
