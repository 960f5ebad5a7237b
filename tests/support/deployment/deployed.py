"""Reads the units, manifests, crontab and Dockerfile as the programs do that they are for."""

import functools
import re
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.deployment.overlaid import build
from worker.errors import ExitCode

ROOT: Final = Path(__file__).parents[3]
SYSTEMD: Final = ROOT / "config" / "systemd"
KUBERNETES: Final = ROOT / "config" / "kubernetes"
CRONTAB: Final = ROOT / "config" / "cron" / "pts-worker"
PROGRAM: Final = "/opt/pts-worker/bin/pts-worker"

OVER: Final = frozenset({ExitCode.GAPS, ExitCode.LEASE_HELD})
"""The run is over and nothing is to be repeated."""

RETRIED: Final = frozenset({ExitCode.UNAVAILABLE, ExitCode.STOPPED})
"""The same call later can succeed."""

FOR_A_PERSON: Final = frozenset(ExitCode) - OVER - RETRIED - {ExitCode.OK}
"""No repetition helps."""

Unit = Mapping[str, Mapping[str, list[str]]]


def tool(name: str) -> str:
    """The path of a program of the operating system; the test is skipped where it is missing.

    ``.ci/run`` installs it where it can, and says so where it cannot.
    """
    reason = f"NOT TESTED: {name} is not installed"
    return shutil.which(name) or pytest.skip(reason, allow_module_level=True)


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """How a command ended within a minute, and what it wrote."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, **options
    )


def write_program(path: Path, script: str) -> None:
    """A program of the shell, which stands in for a real one."""
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def unit(name: str) -> Unit:
    """A unit file: section → key → values in order; an empty value is kept as ``""``."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (SYSTEMD / name).read_text().splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
            continue
        key, separator, value = line.partition("=")
        assert separator, f"{name}: {line!r} is no assignment"
        section.setdefault(key, []).append(value)
    return sections


def one(section: Mapping[str, list[str]], key: str) -> str:
    (value,) = section[key]
    return value


def codes(section: Mapping[str, list[str]], key: str) -> set[int]:
    """The exit codes of a key that lists them."""
    return {int(code) for value in section.get(key, []) for code in value.split()}


def units(kind: str) -> list[str]:
    """The names of the unit files of a kind: ``service``, ``timer``."""
    return sorted(path.name for path in SYSTEMD.glob(f"*.{kind}"))


@functools.cache
def manifests(overlay: str = "production", *components: str) -> Mapping[str, Mapping[str, Any]]:
    """The documents of an overlay with components: by name, the NetworkPolicy by its kind."""
    documents = build(
        KUBERNETES / overlay, [KUBERNETES / "components" / name for name in components]
    )
    kinds = {"NetworkPolicy", "Namespace"}  # named as the ConfigMap
    return {
        document["kind"] if document["kind"] in kinds else document["metadata"]["name"]: document
        for document in documents
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The Job that a CronJob makes."""

    variant: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return " ".join((*self.variant, self.name))

    @property
    def job(self) -> Mapping[str, Any]:
        """The Job's specification."""
        spec: Mapping[str, Any] = manifests(*self.variant)[self.name]["spec"]["jobTemplate"]["spec"]
        return spec

    @property
    def pod(self) -> Mapping[str, Any]:
        """The pod's specification."""
        spec: Mapping[str, Any] = self.job["template"]["spec"]
        return spec

    @property
    def container(self) -> Mapping[str, Any]:
        (container,) = self.pod["containers"]
        assert isinstance(container, Mapping)
        return container


VARIANTS: Final = (
    ("production",),
    ("test",),
    ("production", "roster-pvc"),
    ("production", "sqlite"),
    ("production", "openshift"),
    ("production", "roster-pvc", "openshift"),
    ("production", "sqlite", "roster-pvc", "openshift"),
)
"""The overlays, each component, and those together that go together."""

CRON_JOBS: Final = (
    "pts-backfill",
    "pts-backup",
    "pts-command",
    "pts-freshness",
    "pts-migrate",
    "pts-sync",
)
"""The CronJobs of each variant."""


def workloads(*variants: tuple[str, ...]) -> list[Workload]:
    """Every CronJob's Job, of all variants unless some are named."""
    return [
        Workload(variant=variant, name=name)
        for variant in variants or VARIANTS
        for name in CRON_JOBS
    ]


def cron_commands() -> list[str]:
    """The shell command of each crontab line."""
    pattern = re.compile(r"(?:[\d*,/-]+\s+){5}pts-worker\s+(.+)")
    matches = map(pattern.fullmatch, CRONTAB.read_text().splitlines())
    return [match[1] for match in matches if match]


def allow_core_dumps() -> None:
    """Raise the limit on core dumps as far as this process may, to see who lowers it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
