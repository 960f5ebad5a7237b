"""What is installed is pinned and hashed, may be used, and no lock names an address."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.deployment.deployed import ROOT, run

EXTRAS: Final = ("parquet", "oracle", "mssql")
INSTALLED: Final = (
    "requirements/core.lock",
    *(f"requirements/{name}.lock" for name in (*EXTRAS, "build", "dev")),
)
"""What may be installed together with the worker, and is for `make test`."""
NIGHTLY: Final = "requirements/nightly.lock"
"""What `make test-all` installs there besides."""
APART: Final = tuple(f"requirements/{name}.lock" for name in ("audit", "docs", "dbt", "lock"))
"""Tools that have environments of their own."""


def pins(lock: str) -> dict[str, str]:
    """The locked version of each package; every package has at least one hash."""
    found: dict[str, str] = {}
    for entry in re.split(r"(?m)^(?=[a-z0-9])", (ROOT / lock).read_text())[1:]:
        requirement = Requirement(entry.split("\\")[0])
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), requirement.name
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement.name
        found[canonicalize_name(requirement.name)] = str(requirement.specifier)[2:]
    return found


def wanted() -> list[tuple[str, str]]:
    """What pyproject.toml asks for, each with the lock where it stands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert sorted(extras) == sorted(EXTRAS)
    return [("requirements/core.lock", text) for text in project["dependencies"]] + [
        (f"requirements/{name}.lock", text) for name in EXTRAS for text in extras[name]
    ]


def test_locks_have_what_the_package_asks_for():
    """Each dependency is locked at a version that pyproject.toml allows."""
    missing = []
    for lock, text in wanted():
        requirement = Requirement(text)
        version = pins(lock).get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            missing.append((lock, text, version))
    assert missing == []


def test_an_extra_is_in_no_other_lock():
    """The core alone installs nothing of the extras; `uv` has no lock of its own kind."""
    core = pins("requirements/core.lock")
    own = {"pyarrow", "oracledb", "pyodbc"}
    assert own & set(core) == set()
    assert list(pins("requirements/lock.lock")) == ["uv"]
    assert not (ROOT / "uv.lock").exists()


def test_locks_agree():
    """A package that stands in two locks has one version: they are installed together."""
    versions: dict[str, set[str]] = {}
    for lock in (*INSTALLED, NIGHTLY):
        for name, version in pins(lock).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", [*INSTALLED, NIGHTLY, *APART])
def test_lock_names_no_index_and_no_folder(lock: str):
    """Neither an address nor a path of anybody is in the file; its head says how it is made."""
    text = (ROOT / lock).read_text()
    assert "make lock" in text.splitlines()[1]
    assert re.findall(r"://|--index|--find-links|(?m:^.*[ =]/)", text) == []


def test_make_installs_by_hash_and_leaves_out_no_test():
    """`make test` has the static checks and every test by day, `make test-all` the nightly ones."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs = re.findall(r"(?m)^.*(?:PIP_INSTALL\) |bin/pip (?:install|download)).*$", text)
    assert len(installs) >= 8
    hashed = re.compile(r"--require-hashes|--no-deps|^PIP_INSTALL :=")
    assert [line for line in installs if not hashed.search(line)] == []
    plans = {
        target: run(["make", "--dry-run", target], cwd=ROOT).stdout
        for target in ("test", "nightly")  # a dry run of `docs` would make it
    }
    for program in ("ruff format --check", "ruff check", "lint-imports", "mypy"):
        assert f"bin/{program} " in plans["test"].replace("\n", " "), program
    (tests,) = re.findall(r"bin/pytest (.+)", plans["test"])
    assert re.sub(r"--\S+( \d+| loadfile)?", "", tests).split(maxsplit=1) == ["-m", '"not nightly"']
    assert " -m nightly " in plans["nightly"]
    (parts,) = re.findall(r"(?m)^test-all: .*\n\t@\$\(UNTESTED\) (.+)$", text)
    assert re.findall(r"\$\(MAKE\) (\S+)", parts) == [
        *("nightly", "random-properties", "versions", "docs"),
        *("install-test", "test-image", "boot-test"),
    ]


TEMPLATES = ("parts.html", "report.css", "report.html")


def test_wheel_holds_what_a_server_needs_and_nothing_of_the_tests(tmp_path: Path):
    """A server that has only the wheel can bring its database up to date and make the report."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    needed = {
        "worker/migrations/env.py",
        *(f"worker/report/templates/{name}" for name in TEMPLATES),
        *(f"worker/report/texts/{name}.toml" for name in ("nb", "nn", "en")),
    }
    assert needed - set(names) == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"worker", "pts_sync_worker"}
