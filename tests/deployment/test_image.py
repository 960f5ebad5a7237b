"""The image is built from locked packages, and from the files of the program alone.

What it does when it runs: ``make test-image`` (image_runs.py).
"""

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.specifiers import SpecifierSet

from tests.support.deployment.deployed import ROOT
from worker import __version__


class Step(NamedTuple):
    """One instruction of the Dockerfile."""

    name: str
    text: str


def stages() -> dict[str, list[Step]]:
    """The Dockerfile's stages by name, the last as ``production``, in order."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
    found: dict[str, list[Step]] = {}
    stage: list[Step] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stage = found[rest.partition(" AS ")[2] or "production"] = []
        stage.append(Step(name, rest.strip()))
    return found


def texts(stage: list[Step], name: str) -> list[str]:
    """What each instruction of a kind says."""
    return [step.text for step in stage if step.name == name]


def effective(name: str) -> list[Step]:
    """The instructions of a stage, after those of the stage that it starts from."""
    first, *rest = stages()[name]
    base = first.text.split()[0]
    return [*(effective(base) if base in stages() else ()), *rest]


@pytest.mark.parametrize(("stage", "built"), [("production", "build"), ("full", "build-full")])
def test_image_is_the_worker_as_an_account_without_rights(stage: str, built: str):
    """A numeric user, a folder of its own, no pip; the worker itself gets SIGTERM, not a shell."""
    steps = effective(stage)
    assert {step.name: step.text for step in steps if step.name not in {"ENV", "LABEL", "RUN"}} == {
        "ARG": "REVISION=unknown",
        "WORKDIR": "/data",
        "VOLUME": '["/data"]',
        "USER": "10001:10001",
        "ENTRYPOINT": '["pts-worker"]',
        "CMD": '["--help"]',
        "HEALTHCHECK": "NONE",
        "COPY": f"--from={built} /opt/pts-worker /opt/pts-worker",
    }
    (command,) = texts(steps, "RUN")
    assert command.startswith("pip uninstall --yes ")
    assert command.endswith("--owner=10001 --group=10001 --mode=0700 /data")
    (variables,) = texts(steps, "ENV")
    unwritable = {"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "HOME=/data"}
    assert {*unwritable, "PATH=/opt/pts-worker/bin:$PATH"} <= set(variables.split())
    assert [*stages()][-1] == "production"  # a build without --target


def test_every_package_in_the_image_is_locked_by_hash():
    """Each install either checks hashes or takes the one wheel that was built here."""
    runs = [run for name in ("build", "build-full") for run in texts(stages()[name], "RUN")]
    commands = [command for run in runs for command in run.split("&&")]
    installs = [command for command in commands if " install " in command]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or "--no-deps --no-index dist/*.whl" in command
        # A source distribution would run its own build.
        assert "--only-binary :all:" in command or "build.lock" in command or "dist/" in command


def ignored(name: str) -> bool:
    """What .dockerignore says of a file: its last pattern that fits decides."""
    found = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = [name, *map(str, Path(name).parents)] if "**/" not in line else [Path(name).name]
        if line[:1] not in {"#", ""} and any(fnmatch.fnmatchcase(one, pattern) for one in parts):
            found = not line.startswith("!")
    return found


def test_docker_sees_every_file_that_it_copies():
    """The program with its texts, codes and templates, the migrations, and the locks."""
    copied = " ".join(
        text for name in ("build", "build-full") for text in texts(stages()[name], "COPY")
    )
    files = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        *(word for word in copied.split() if word[-1] not in "/."),
    ]
    listed = subprocess.run(files, check=True, capture_output=True, text=True).stdout.split()
    assert {"worker/areas/pts.toml", "worker/report/texts/nb.toml"} < set(listed)
    assert [name for name in listed if ignored(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "worker/sandbox/client-key.json", "worker/pseudonym.key", "worker/keys/helseid.jwk.json",
        "worker/helseid.jwk.json.old", "worker/helseid.json.new", "worker/one.txt", "one.txt",
        "worker/roster.csv", "worker/pts.db", "worker/pts.db-wal", "worker/worker.toml",
        "worker/cli/ca.pem", "migrations/identifiers.txt", "demo/report.html", "roster.csv",
    ],
)  # fmt: skip
def test_nothing_personal_reaches_the_image_or_git(name: str):
    """Keys, rosters and databases that somebody left are ignored by docker and by git."""
    assert ignored(name)
    # --no-index: the answer does not depend on what is committed.
    git = ["git", "-C", str(ROOT), "check-ignore", "--quiet", "--no-index", name]
    assert subprocess.run(git, check=False).returncode == 0


def test_image_has_this_version_and_a_python_that_is_supported():
    """Labels, tags and the Python of the base image agree with the package and the sources."""
    text = (ROOT / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (version,) = re.findall(r"(?m)^ARG VERSION=(.+)$", text)
    (python,) = re.findall(r"(?m)^ARG BASE=python:([\d.]+)-", text)
    assert version == __version__
    tags = re.findall(r"(?m)^# docker build --tag (\S+) --build-arg (\w+)=", text)
    assert tags == [(f"pts-sync-worker:{version}-{tag}", "REVISION") for tag in ("slim", "full")]
    (labels,) = texts(stages()["base"], "LABEL")
    assert 'org.opencontainers.image.revision="${REVISION}"' in labels
    assert f"{python}.0" in SpecifierSet(project["requires-python"])
