"""Mistakes of the first hour: each is a sentence with the place and the remedy."""

import json
import os
import re
import shlex
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from worker.cli import run
from worker.config import load
from worker.config.settings import KEYS
from worker.store.schema.upgrade import HEAD


@pytest.fixture
def migrated(setup: Path, migrated_sqlite: Path) -> Path:
    """The same, with a database at the program's schema."""
    shutil.copy(migrated_sqlite, setup / "pts.db")
    return setup


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of relative paths and what it names; started elsewhere."""
    for variable in [name for name in os.environ if name.startswith("PTS_")]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "roster.csv").write_text("off_id\n")
    (folder / "pseudonym.key").write_bytes(os.urandom(32))
    (folder / "pseudonym.key").chmod(0o600)
    (folder / "worker.toml").write_text(
        '[roster]\npath = "roster.csv"\n[privacy]\npseudonym_key_file = "pseudonym.key"\n'
        '[database]\nurl = "sqlite:///pts.db"\n'
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> str:
    """What a call that ends with this code writes, without line breaks."""
    found = run(arguments)
    out, err = capsys.readouterr()
    assert (found, "Traceback" in out + err) == (code, False), out + err
    return " ".join((out + err).split())


def test_from_another_directory(setup: Path, capsys: pytest.CaptureFixture[str]):
    """The files of the configuration are found from anywhere; nothing is made where we stand."""
    config = ("--config", "../etc/worker.toml")
    text = said(capsys, *config, "db", "upgrade", code=0)
    assert f"database {setup}/pts.db" in text
    assert f"config file {Path.cwd()}/../etc/worker.toml schema after {HEAD}" in text
    assert (setup / "pts.db").is_file()
    assert "no full run" in said(capsys, *config, "status", code=0)
    assert list(Path.cwd().iterdir()) == []


def test_no_configuration_is_said_first(
    setup: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Before a database that is missing, or keys that are not set: where it would be read from."""
    looked = f"there is no file {Path.cwd()}/config/worker.toml, and PTS_CONFIG is not set"
    monkeypatch.setenv("PTS_CONFG", f"{setup}/worker.toml")
    text = said(capsys, "status", code=78)
    assert f"pts-worker: no configuration was read: {looked} (PTS_CONFG is: did you mean " in text
    assert text.index("did you mean PTS_CONFIG?") < text.index("there is no database file")
    assert f"no configuration was read: {looked}" in said(capsys, "sync", code=78)
    monkeypatch.setenv("PTS_CONFIG", "/nowhere/worker.toml")
    text = said(capsys, "status", code=78)
    assert "there is no configuration file /nowhere/worker.toml (from PTS_CONFIG)" in text
    text = said(capsys, "status", "--config", "gone.toml", code=78)
    assert f"there is no configuration file {Path.cwd()}/gone.toml (from --config)" in text


def test_a_list_may_be_written_as_in_toml(setup: Path, capsys: pytest.CaptureFixture[str]):
    """With the brackets and quotes of the file, or with commas alone."""
    for text in ('["patient-safety"]', "patient-safety", "[ 'patient-safety' ]"):
        call = ("--config", f"{setup}/worker.toml", "config", "show", "--set", f"sync.areas={text}")
        assert "sync.areas patient-safety flag" in said(capsys, *call, code=0)


def test_doctor_names_what_a_run_passes_over(migrated: Path, capsys: pytest.CaptureFixture[str]):
    """Two lines of one person, wrong check digits, and a key that others can read."""
    (migrated / "roster.csv").write_text(
        "off_id,cohort\n16858399649,North\n16858399649,South\n16858399649,North\n"
        "16858399694,North\n"
    )
    key = ("--set", f"helseid.private_jwk_file={migrated}/key.json")
    said(capsys, "keys", "new", "--out", f"{migrated}/key.json", code=0)
    (migrated / "pseudonym.key").chmod(0o644)
    closed = {
        "helseid.issuer": "http://127.0.0.1:9",
        "api.base_url": "http://127.0.0.1:9",
        "helseid.client_id": "me",
    }
    words = [word for name, value in closed.items() for word in ("--set", f"{name}={value}")]
    text = said(capsys, "--config", f"{migrated}/worker.toml", "doctor", *key, *words, code=69)
    assert f"privacy.pseudonym_key_file: others can access {migrated}/pseudonym.key" in text
    assert "2 persons, 4 requests" in text
    assert "1 identifier with wrong check digits → " in text
    assert "asks about another person: correct line 5" in text
    assert "16858399694" not in text
    assert "1 line of a repeated person with another local_ref or cohort" in text
    assert f"of the first line; see {migrated}/roster.csv line 3" in text


def test_init_never_overwrites(setup: Path, capsys: pytest.CaptureFixture[str]):
    """It makes a new file that says what every key means, for its owner."""
    before = (setup / "worker.toml").read_text()
    out = ("--out", f"{setup}/worker.toml")
    assert f"{setup}/worker.toml already exists" in said(capsys, "init", *out, code=78)
    (setup / "link.toml").symlink_to("nowhere.toml")
    assert "already exists" in said(capsys, "init", "--out", f"{setup}/link.toml", code=78)
    assert (setup / "worker.toml").read_text() == before
    assert not (setup / "nowhere.toml").exists()
    secret = ("--set", "database.url=postgresql://u:secret@h/x")
    text = said(capsys, "init", "--out", "own.toml", *secret, code=2)
    assert "contains a password; write it to a file" in text
    assert ("secret" in text, list(Path.cwd().iterdir())) == (False, [])
    flags = ("--set", "sync.deadline=4h", "--set", "helseid.client_id=me")
    text = said(capsys, "init", "--out", "own.toml", *flags, code=0)
    next_commands = re.findall(r"own.toml (db upgrade|config check|doctor)", text)
    assert next_commands == ["db upgrade", "config check", "doctor"]
    assert re.findall(r"(\S+) created", text) == [
        f"{Path.cwd()}/{name}" for name in ("helseid.jwk.json", "pseudonym.key")
    ]
    keys = [Path(name).read_bytes() for name in ("helseid.jwk.json", "pseudonym.key")]
    assert len(keys[1]) == 32
    text = said(capsys, "init", "--out", "other.toml", code=0)
    assert " created" not in text
    assert keys == [Path(name).read_bytes() for name in ("helseid.jwk.json", "pseudonym.key")]
    own = ("--set", "helseid.private_jwk_file=/nowhere/key")
    assert "created" not in said(capsys, "init", "--out", "elsewhere.toml", *own, code=0)
    assert oct(Path("own.toml").stat().st_mode & 0o777) == "0o600"
    text = Path("own.toml").read_text()
    for name in KEYS:
        assert f"{name.rpartition('.')[2]} = " in text
    assert "\ndeadline = " in text
    loaded = load({}, environ={}, cwd=Path.cwd(), config_path=Path("own.toml"))
    found = loaded.settings
    assert (found.sync.deadline, found.helseid.client_id) == (timedelta(hours=4), "me")
    assert found.roster.path == str(Path.cwd() / "roster.csv")


def test_init_writes_no_environment_beside_an_address(
    setup: Path, capsys: pytest.CaptureFixture[str]
):
    """It would say that there are no real persons behind an address that nobody knows."""
    addresses = {"api.base_url": "https://pts.example", "helseid.issuer": "https://sts.example"}
    flags = [word for key, url in addresses.items() for word in ("--set", f"{key}={url}")]
    text = said(capsys, "init", "--out", "own.toml", *flags, code=0)
    assert "At https://selvbetjening.nhn.no:" in text
    loaded = load(environ={}, cwd=Path.cwd(), config_path=Path("own.toml"))
    assert loaded.settings.api.environment is None
    assert loaded.settings.api.base_url == "https://pts.example"


def test_config_check_reads_what_a_sync_needs(setup: Path, capsys: pytest.CaptureFixture[str]):
    """Every fault of what the configuration names, at once, without asking any server."""
    said(capsys, "keys", "new", "--out", f"{setup}/key.json", code=0)
    flags = {
        "api.base_url": "https://192.0.2.1",
        "helseid.issuer": "https://192.0.2.1",
        "helseid.client_id": "me",
        "helseid.private_jwk_file": f"{setup}/key.json",
    }
    words = [word for key, value in flags.items() for word in ("--set", f"{key}={value}")]
    words = ["--config", f"{setup}/worker.toml", "config", "check", *words]
    assert "keys and contract are valid" in said(capsys, *words, code=0)
    names = ("key.json", "ca.pem", "pts.toml")
    for name in names:
        (setup / name).write_text("{")
        (setup / name).chmod(0o600)
    words += ["--set", f"tls.ca_file={setup}/ca.pem"]
    words += ["--set", f"api.contract_file={setup}/pts.toml"]
    text = said(capsys, *words, code=78)
    assert [name for name in names if f"{setup}/{name}" not in text] == []
    assert "proposes a contract" in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("status --set database.url=sqlite:pts.db", 2, "must start with sqlite:///"),
        ("status --set database.url=sqlite:///.", 78, "{folder} cannot be opened: it is a folder"),
        ("status --set database.url=sqlite:///no/x.db", 78, "the folder {folder}/no does not"),
        ("keys new --out no/k", 78, "written (no such file or directory) → create the folder"),
        ("keys public --set helseid.private_jwk_file=none", 78, "there is no file {folder}/none"),
        ("export --out roster.csv", 78, "roster.csv is a file → name a folder"),
        ("sandbox --helseid-port 0 --pts-port 0 --contract broken", 2, "{folder}/broken"),
        ("--set privacy.pseudonym_key_file=broken explain", 78, "{folder}/broken"),
        ("explain --person 16858399649", 2, "→ give one identifier on standard input"),
        ("export --out ''", 2, "the path is empty"),
        ("export --out x --since 1 --view run", 2, "is exported by itself"),
        ("report --out x --min-cell 3", 2, "give 4 or more"),
        ("report --out broken", 78, "{folder}/broken already exists and was not overwritten"),
        ("status --set roster.path='a\0b'", 2, "must be plain text"),
        ("export --out x --format parquet --dialect excel-nb", 2, "--dialect is for CSV, not for"),
        ("sync --rooster x", 2, "Did you mean '--roster'?"),
        ("sync --wait soon", 2, "→ for example `pts-worker sync --config /etc/pts-worker/"),
        ("sync --set snyc.concurrency=4", 2, "snyc (flag --set snyc.concurrency): unknown"),
        ("--set typo sync", 2, "--set takes KEY=VALUE"),
    ],
)
def test_a_mistake_is_a_sentence(
    words: str, code: int, message: str, migrated: Path, capsys: pytest.CaptureFixture[str]
):
    """It has the place and the remedy, and the code of the contract; also with ``--json``."""
    places = {"folder": str(Path.cwd()), "etc": str(migrated)}
    arguments = shlex.split(words.format(**places))
    (migrated / "roster.csv").write_text("off_id\n16858399649\n")
    for name, content in (("roster.csv", ""), ("broken", "{")):
        Path(name).write_text(content)
        Path(name).chmod(0o600)
    arguments = ["--config", f"{migrated}/worker.toml", *arguments]
    assert message.format(**places) in said(capsys, *arguments, code=code)
    assert run([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    assert (json.loads(out)["error"]["exit_code"], err) == (code, "")
