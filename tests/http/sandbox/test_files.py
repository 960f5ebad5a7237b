"""The folder that a newcomer gets."""

import csv
import stat
import tomllib
from pathlib import Path

import pytest

from tests.support.contracts import DEFAULT
from worker.sandbox.files import write_setup
from worker.sandbox.people import CLINICS, roster
from worker.sandbox.serve import SandboxOptions


def test_the_folder_holds_what_the_worker_needs(tmp_path: Path):
    """Roster, keys with mode 0600, and a configuration that names them and the ports."""
    folder = tmp_path / "demo"
    options = write_setup(folder, SandboxOptions(persons=25))
    with (folder / "roster.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["off_id", "local_ref", "cohort"]
    assert [row[:2] for row in rows[1:]] == [list(line) for line in roster(1, 25)]
    assert {row[2] for row in rows[1:]} <= {*CLINICS}
    assert len({row[2] for row in rows[1:]}) > 3
    for name in ("client-key.json", "pseudonym.key"):
        assert oct(stat.S_IMODE((folder / name).stat().st_mode)) == oct(0o600)
    assert len((folder / "pseudonym.key").read_bytes()) == 32
    config = tomllib.loads((folder / "worker.toml").read_text(encoding="utf-8"))
    assert config["helseid"]["issuer"] == f"http://127.0.0.1:{options.helseid_port}/helseid"
    assert config["helseid"]["private_jwk_file"] == str(folder / "client-key.json")
    assert config["api"]["base_url"] == f"http://127.0.0.1:{options.pts_port}"
    assert config["database"]["url"] == f"sqlite:///{folder / 'pts.db'}"
    assert set(config) == {"helseid", "api", "roster", "privacy", "database", "sync"}


def test_a_folder_can_be_used_again(tmp_path: Path):
    """Written again, the keys stay: the database in the folder was made with them."""
    first = write_setup(tmp_path, SandboxOptions(persons=5))
    keys = [(tmp_path / n).read_bytes() for n in ("client-key.json", "pseudonym.key")]
    again = write_setup(tmp_path, SandboxOptions(persons=7))
    assert [(tmp_path / n).read_bytes() for n in ("client-key.json", "pseudonym.key")] == keys
    assert again.client_jwks == first.client_jwks
    assert "d" not in again.client_jwks[0]


def test_a_restart_keeps_the_configuration(tmp_path: Path):
    """Ports and what somebody changed in the file stay; contradicting ports are refused."""
    first = write_setup(tmp_path, SandboxOptions(persons=5))
    config = tmp_path / "worker.toml"
    text = config.read_text() + 'deadline = "4h"\n'
    config.write_text(text)
    again = write_setup(tmp_path, SandboxOptions(persons=7))
    assert (again.helseid_port, again.pts_port) == (first.helseid_port, first.pts_port)
    assert config.read_text() == text
    with pytest.raises(ValueError, match=f"has the ports {first.helseid_port}"):
        write_setup(tmp_path, SandboxOptions(persons=5, pts_port=1))
    config.write_text("[helseid]\n")
    with pytest.raises(ValueError, match="does not name the sandbox's"):
        write_setup(tmp_path, SandboxOptions(persons=5))


def test_the_worker_gets_the_contract(tmp_path: Path):
    """The configuration names the file, and a start without it takes it from there."""
    contract, other = tmp_path / "pts.toml", tmp_path / "other.toml"
    for file in (contract, other):
        file.write_text(DEFAULT.read_text(encoding="utf-8"), encoding="utf-8")
    folder = tmp_path / "sandbox"
    write_setup(folder, SandboxOptions(persons=5, contract=contract))
    config = tomllib.loads((folder / "worker.toml").read_text(encoding="utf-8"))
    assert config["api"]["contract_file"] == str(contract)
    assert write_setup(folder, SandboxOptions(persons=5)).contract == contract
    with pytest.raises(ValueError, match="has another contract"):
        write_setup(folder, SandboxOptions(persons=5, contract=other))
