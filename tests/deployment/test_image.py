"""The image is built from locked packages and runs without root."""

import fnmatch
import json
import re
import shlex
import tomllib
from typing import NamedTuple

from packaging.specifiers import SpecifierSet

from tests.deployment.deployed import ROOT, workloads
from worker import __version__


class Step(NamedTuple):
    """One instruction of the Dockerfile."""

    name: str
    text: str


def stages() -> list[list[Step]]:
    """The Dockerfile's stages; what stands before the first FROM is left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
    found: list[list[Step]] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append(Step(name, rest.strip()))
    return found


def texts(stage: list[Step], name: str) -> list[str]:
    """What each instruction of a kind says."""
    return [step.text for step in stage if step.name == name]


def test_image_runs_without_root_as_the_manifests_say():
    """The user is a number other than 0, the one that the manifests name."""
    (user,) = texts(stages()[-1], "USER")
    (in_manifests,) = {workload.pod["securityContext"]["runAsUser"] for workload in workloads()}
    assert user == f"{in_manifests}:{in_manifests}"
    assert in_manifests > 0


def test_worker_is_the_first_process_and_gets_the_signals():
    """The entry point is in exec form: no shell stands between SIGTERM and the worker."""
    (entry_point,) = texts(stages()[-1], "ENTRYPOINT")
    assert json.loads(entry_point) == ["pts-worker"]


def test_image_writes_one_volume_alone():
    """/data is the working folder and the only volume."""
    last = stages()[-1]
    assert [json.loads(volume) for volume in texts(last, "VOLUME")] == [["/data"]]
    assert texts(last, "WORKDIR") == ["/data"]


def test_last_stage_takes_the_finished_environment_and_installs_nothing():
    """Compilers, package managers and sources stay in the first stage."""
    first, last = stages()
    assert texts(last, "COPY") == ["--from=build /opt/pts-worker /opt/pts-worker"]
    assert texts(first, "FROM")[0].endswith(" AS build")
    assert not re.search(r"apt|gcc|curl|pip install", " ".join(texts(last, "RUN")))
    assert texts(last, "HEALTHCHECK") == ["NONE"]


def test_every_package_in_the_image_is_locked_by_hash():
    """Each install either checks hashes or takes the one wheel that was built here."""
    commands = [command for run in texts(stages()[0], "RUN") for command in run.split("&&")]
    installs = [command for command in commands if " install " in command]
    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes" in command or "--no-deps --no-index dist/*.whl" in command


def test_what_is_copied_exists_and_is_not_ignored():
    """Each source of COPY is in the repository and let through by .dockerignore."""
    (star, *others) = (
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"
    )
    assert star == "*"
    let_through = [line[1:] for line in others if line.startswith("!")]
    sources = [source for text in texts(stages()[0], "COPY") for source in shlex.split(text)[:-1]]
    assert sorted(sources) == sorted(let_through)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_through)


def test_image_has_this_version_and_a_python_that_is_supported():
    """The version label and the Python of the base image agree with the package."""
    text = (ROOT / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (version,) = re.findall(r"(?m)^ARG VERSION=(.+)$", text)
    (python,) = re.findall(r"(?m)^ARG PYTHON=(.+)$", text)
    assert version == __version__
    assert f"{python}.0" in SpecifierSet(project["requires-python"])
