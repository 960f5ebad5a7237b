"""Mistakes of the first hour: each is a sentence with the place and the remedy."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.cli import run

OTHER_USER = 65_534


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user who is not root, whom no mode would stop."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(before)


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
    assert (code, False) == (found, "Traceback" in out + err), out + err
    return " ".join((out + err).split())


def test_from_another_directory(setup: Path, capsys: pytest.CaptureFixture[str]):
    """The files of the configuration are found from anywhere; nothing is made where we stand."""
    config = ("--config", "../etc/worker.toml")
    said(capsys, *config, "db", "upgrade", code=0)
    assert (setup / "pts.db").is_file()
    assert "lease free" in said(capsys, *config, "status", code=0)
    assert [] == list(Path.cwd().iterdir())


@pytest.mark.parametrize("command", ["status", "db check", "sync", "plan", "failures list"])
def test_a_missing_database_is_not_made(
    command: str, setup: Path, capsys: pytest.CaptureFixture[str]
):
    """Only ``db upgrade`` makes one; others name the file that they looked for."""
    words = ("--config", "../etc/worker.toml", *command.split())
    if command == "sync":
        issuer = ("--set", "helseid.client_id=x", "--set", "api.environment=test")
        (setup / "key.json").write_text("{}")
        (setup / "key.json").chmod(0o600)
        words = (*words, *issuer, "--set", f"helseid.private_jwk_file={setup}/key.json")
    text = said(capsys, *words, code=78)
    assert f"there is no database file {setup}/pts.db" in text
    assert not (setup / "pts.db").exists()


def test_permission_denied_is_not_missing(setup: Path, capsys: pytest.CaptureFixture[str]):
    """A file that may not be read is not said to be missing, and nothing new is advised."""
    said(capsys, "--config", "../etc/worker.toml", "db", "upgrade", code=0)
    (setup.parent / "elsewhere/config").mkdir()
    (setup.parent / "elsewhere/config").chmod(0o700)
    for parent in setup.parents[:3]:
        parent.chmod(0o755)
    setup.chmod(0o700)
    with without_privileges():
        texts = [
            said(capsys, "status", "--database", f"sqlite:///{setup}/pts.db", code=78),
            said(capsys, "--config", f"{setup}/worker.toml", "status", code=78),
            said(capsys, "status", code=78),
        ]
    for text in texts:
        assert "permission denied" in text.lower() or "may not be" in text
        assert "there is no" not in text
        assert "db upgrade" not in text
