"""The folder that a newcomer gets."""

import csv
import json
import stat
import tomllib
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tests.support.sandbox_caller import calling
from worker.sandbox.files import write_setup
from worker.sandbox.own_restrictions import read_own_restrictions
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


def test_persons_of_ones_own(tmp_path: Path):
    """They are on the roster and have what the file says, filled in; others are generated."""
    own_id = next(roster(2, 1))[0]
    given = {"patient-safety": [{"confidentialityCode": "N"}, {}]}
    (tmp_path / "own.json").write_text(json.dumps({own_id: given}))
    own = read_own_restrictions(tmp_path / "own.json")
    options = write_setup(tmp_path / "sandbox", SandboxOptions(persons=5, own=own))
    lines = (tmp_path / "sandbox/roster.csv").read_text().splitlines()
    assert (len(lines), lines[-1]) == (7, f"{own_id},own-1,")
    private = json.loads((tmp_path / "sandbox/client-key.json").read_text())
    with calling(options, key=ECKey.import_key(private)) as caller:
        caller.sign_in()
        found = caller.search(own_id).json()
    assert found[0]["confidentialityCode"] == "N"
    assert len({one["id"] for one in found}) == 2
    assert {one["patientSafetyObject"]["person"]["offId"] for one in found} == {own_id}
