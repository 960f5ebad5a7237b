"""The folder that a newcomer gets."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.contracts import DEFAULT
from worker.sandbox.serve import write_setup
from worker.sandbox.world import SandboxOptions

ELSEWHERE: dict[str, Any] = {
    "issuer": "http://127.0.0.1:1/helseid",
    "pts_url": "http://127.0.0.1:2",
}


def test_a_folder_can_be_used_again(tmp_path: Path):
    """Keys stay, and what somebody changed in the configuration; other addresses are refused."""
    first = write_setup(tmp_path, SandboxOptions(persons=5, **ELSEWHERE))
    config = tmp_path / "worker.toml"
    config.write_text(config.read_text(encoding="utf-8") + 'deadline = "4h"\n', encoding="utf-8")
    kept = [tmp_path / name for name in ("client-key.json", "pseudonym.key", "worker.toml")]
    before = [file.read_bytes() for file in kept]
    again = write_setup(tmp_path, SandboxOptions(persons=7, **ELSEWHERE))
    assert [file.read_bytes() for file in kept] == before
    assert again.clients == first.clients
    assert "d" not in again.clients[0].jwks[0]
    with pytest.raises(ValueError, match="names other addresses"):
        write_setup(tmp_path, SandboxOptions(persons=5))


def test_the_worker_gets_the_contract(tmp_path: Path):
    """The configuration names the file."""
    write_setup(tmp_path, SandboxOptions(persons=5, contract=str(DEFAULT), **ELSEWHERE))
    config = tomllib.loads((tmp_path / "worker.toml").read_text(encoding="utf-8"))
    assert config["api"]["contract_file"] == str(DEFAULT)
    with pytest.raises(ValueError, match="or another contract"):
        write_setup(tmp_path, SandboxOptions(persons=5, **ELSEWHERE))
