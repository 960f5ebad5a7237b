"""Who looked at whom: each command that shows a person leaves a row before it shows anything."""

import os
import pwd
import shlex
import socket
import stat
from pathlib import Path

import anyio
import pytest

from tests.support.databases import execute
from tests.support.program import Installation, calls, environment
from tests.support.pseudonyms import pseudonym_of
from tests.support.standin import Standin, person

pytestmark = pytest.mark.promise("8")

STRANGER = "16858399649"
SHOWN = "SELECT os_user, host, command, person_key, purpose FROM report_access ORDER BY accessed_at"


ODD = {
    "very long": "z" * 10_000,
    "escape": "case \x1b[31m17",
    "bidi": "case \u202e17",
    "two lines": "a\nb",
    "an identifier": f"asked for {STRANGER}",
}
"""Purposes that are none."""


def install(made: Standin, url: str, folder: Path, number: int) -> tuple[Installation, str]:
    off_id = person(made, number, safeties=1)
    worker = made.install(folder, url)
    worker.configure(sync={"areas": ["patient-safety"]})
    assert worker.sync().code == 0
    return worker, off_id


def row(command: str, key: str | None, purpose: str | None) -> list[tuple[object, ...]]:
    return [(pwd.getpwuid(os.getuid()).pw_name, socket.gethostname(), command, key, purpose)]


def test_each_command_leaves_a_row(standin: Standin, sqlite_url: str, tmp_path: Path):
    """Account, host, command with its scope, person and purpose; no person whom no run has read.

    The rows stay after ``erase`` without the person's name, and so do later look-ups of them.
    """
    worker, off_id = install(standin, sqlite_url, tmp_path, 3)
    key = worker.store.one("SELECT person_key FROM report_patient_safety_current")
    stranger = pseudonym_of((tmp_path / "pseudonym.key").read_bytes(), STRANGER)
    for line, given, expected in (
        ("explain --purpose 'case 17'", off_id, row("explain", key, "case 17")),
        ("explain", STRANGER, row("explain", None, None)),
        ("failures show - --purpose 'case 18'", off_id, row("failures show", key, "case 18")),
        (
            "report --out r.html --purpose 'board meeting'",
            "",
            row("report --min-cell 5", None, "board meeting"),
        ),
        ("report --out r.html --min-cell 0", "", row("report --min-cell 0", None, None)),
        ("export --out export --purpose quarterly", "", row("export", None, "quarterly")),
        (
            "export --out access --view access --view daily",
            "",
            row("export --view access --view daily", None, None),
        ),
        ("export --out changes --since 1", "", row("export --since 1", None, None)),
        ("status", "", []),
        # The person is gone by the time that the view is read.
        ("erase --purpose 'case 19'", off_id, row("erase", None, "case 19")),
        ("explain --purpose 'case 20'", off_id, row("explain", None, "case 20")),
    ):
        before = worker.store.one("SELECT count(*) FROM report_access")
        (ended,) = calls(worker, (line, given))
        assert (ended.code, worker.store.rows(SHOWN)[before:]) == (0, expected), line

    assert worker.call("report --out r.html --cohort 'Øst 2'").code == 2, "there is none"
    commands = worker.store.rows("SELECT command FROM report_access ORDER BY accessed_at")
    assert commands[-1] == ("report --min-cell 5 --cohort 'Øst 2'",)

    kept = worker.store.rows("SELECT * FROM access_log")
    assert len(kept) == 11
    secrets = off_id, STRANGER, key, stranger
    assert [secret for secret in secrets if secret in str(kept)] == []
    # It is about those who use the program: it is exported only where it is named.
    assert list(tmp_path.glob("export/*/report_access*")) == []
    (path,) = tmp_path.glob("access/*/report_access.csv")
    assert "case 17" in path.read_text(encoding="utf-8")
    (named,) = calls(worker, f"report --out {STRANGER}.html")
    assert (named.code, STRANGER in named.out + named.err) == (2, False)


@pytest.mark.parametrize("purpose", ODD.values(), ids=ODD)
def test_a_purpose_that_is_none(worker: Installation, purpose: str):
    """It is refused, is not repeated and not kept."""
    before = worker.store.rows(SHOWN)
    (ended,) = calls(worker, (f"explain --purpose {shlex.quote(purpose)}", STRANGER))
    assert (ended.code, ended.out, worker.store.rows(SHOWN)) == (2, "", before), ended.story()
    said = " ".join(ended.err.split())
    assert "give one line of up to 200 printable" in said or "give one identifier on" in said
    assert [one for one in (purpose, STRANGER) if one in said] == []


@pytest.mark.parametrize("command", ["explain", "report --out r.html", "export --out e"])
def test_what_cannot_be_logged_is_not_shown(worker: Installation, tmp_path: Path, command: str):
    """A file that may only be read: 78."""
    off_id = (worker.folder / "roster.csv").read_text(encoding="utf-8").split()[1].split(",")[0]
    before = worker.store.rows(SHOWN)  # the store is shared, and others have looked at it
    worker.store.path.chmod(0o400)
    refused = worker.run(*command.split(), stdin=off_id.encode(), obeys_modes=True)
    assert refused.code == 78, refused.err
    assert refused.document.keys() == {"error"}
    assert not (tmp_path / "r.html").exists()
    assert not (tmp_path / "e").exists()
    worker.store.path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert worker.store.rows(SHOWN) == before


def test_a_role_that_may_only_read(standin: Standin, postgresql_url: str, tmp_path: Path):
    """The same on PostgreSQL; INSERT on the log and its sequence is all that a reader needs."""
    url = postgresql_url
    worker, off_id = install(standin, url, tmp_path, 5)
    for statement in (
        "DROP ROLE IF EXISTS onlooker",
        "CREATE ROLE onlooker LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker",
    ):
        anyio.run(execute, url, statement)
    try:
        worker.configure(database={"url": url.replace("postgres:@", "onlooker@")})
        (refused,) = calls(worker, ("explain --json", off_id))
        assert (refused.code, "lacks a privilege" in refused.message) == (78, True), refused.err
        anyio.run(execute, url, "GRANT INSERT ON access_log TO onlooker")
        anyio.run(execute, url, "GRANT USAGE ON SEQUENCE access_log_access_id_seq TO onlooker")
        (shown,) = calls(worker, ("explain --json", off_id))
        assert shown.code == 0, shown.err
    finally:
        anyio.run(execute, url, "DROP OWNED BY onlooker")
        anyio.run(execute, url, "DROP ROLE onlooker")
    assert [found[2] for found in worker.store.rows(SHOWN)] == ["explain"]


def test_the_account_behind_sudo(worker: Installation, tmp_path: Path):
    """Who logged in is named beside the service's account; without a login session, by sudo."""
    try:
        login = os.getlogin()
    except OSError:
        login = "kari"
    for name in ("kari", "not an account"):
        env = environment(SUDO_USER=name)
        assert worker.run("report", "--out", str(tmp_path / "r.html"), env=env).code == 0
    account = pwd.getpwuid(os.getuid()).pw_name
    kept = worker.store.rows("SELECT login_user FROM report_access ORDER BY accessed_at")[-2:]
    expected = [login, None if login == "kari" else login]
    assert [user for (user,) in kept] == [None if user == account else user for user in expected]
