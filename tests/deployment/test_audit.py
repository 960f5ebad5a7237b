"""``make audit``: a known vulnerability is 1; a database that cannot be asked is said, and is 0."""

import subprocess
from pathlib import Path

import pytest

from tests.support.deployment.deployed import ROOT

FOUND = "Found 1 known vulnerability in 1 package\nName  Version ID\nurllib3 1.0 PYSEC-2023-192\n"
AWAY = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='index.example', port=443)\n"
BLOCKED = (
    "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\n"
    "ERROR:pip_audit._cli:Tip: your network may be blocking this service. "
    "Try another service with `-s SERVICE`\n"
)
UNKNOWN = "anyio  Dependency not found on PyPI and could not be audited: anyio (4.0)\n"
CLEAN = "No known vulnerabilities found\n"
SAID = "NOT AUDITED, or not all"


@pytest.mark.parametrize(
    ("text", "code", "expected", "is_said"),
    [
        (CLEAN, 0, 0, False),
        (FOUND, 1, 1, False),
        (FOUND + UNKNOWN, 1, 1, True),
        (UNKNOWN, 0, 0, True),
        (UNKNOWN, 1, 0, True),
        (AWAY, 1, 0, True),
        (BLOCKED, 1, 0, True),
        ("requests.exceptions.ReadTimeout: Read timed out.\n", 1, 0, True),
        ("ERROR: requirements.lock: no hash\n", 1, 1, False),
    ],
)
def test_what_the_auditor_says(tmp_path: Path, text: str, code: int, expected: int, is_said: bool):
    """In the auditor's place stands one that says so; what it said is shown as it is."""
    auditor = tmp_path / "bin" / "pip-audit"
    auditor.parent.mkdir()
    (tmp_path / "text").write_text(text, encoding="utf-8")
    auditor.write_text(f"#!/bin/sh\ncat {tmp_path}/text\nexit {code}\n", encoding="utf-8")
    auditor.chmod(0o700)
    (tmp_path / ".made").touch()
    ended = subprocess.run(
        ["make", "audit", f"AUDIT={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert text in ended.stdout
    assert (expected > 0, is_said) == (ended.returncode > 0, SAID in ended.stdout)
