"""Who looked at whom: each command that shows a person leaves a row before it shows anything."""

import os
import pwd
import shlex
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.support.databases import execute
from tests.support.made_databases import MakeDatabase
from tests.support.program import Ended, Installation, Sandbox, calls
from tests.support.pseudonyms import pseudonym_of
from tests.support.standin import Standin, person
from tests.support.standin import standin as serve

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


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What was called, and what the log said after each call."""

    worker: Installation
    off_id: str
    key: str
    ends: dict[str, Ended]
    rows: dict[str, list[tuple[object, ...]]]


def install(made: Standin, url: str, folder: Path, number: int) -> tuple[Installation, str]:
    off_id = person(made, number, safeties=1)
    worker = made.install(folder, url)
    worker.configure(sync={"areas": ["patient-safety"]})
    return worker, off_id


def carry_out(made: Standin, url: str, folder: Path) -> Logged:
    worker, off_id = install(made, url, folder, 3)
    (synced,) = calls(worker, "sync --json")
    assert synced.code == 0, synced.err
    key = worker.store.one("SELECT person_key FROM report_patient_safety_current")
    lines: dict[str, str | tuple[str, str]] = {
        "explain": ("explain --json --purpose 'case 17'", off_id),
        "explain of a stranger": ("explain", STRANGER),
        "failures show": ("failures show - --json --purpose 'case 18'", off_id),
        "report": "report --out report.html --purpose 'board meeting'",
        "export": "export --out export --purpose 'quarterly figures'",
        "export --view access": "export --out access --view access",
        **{
            name: (f"explain --purpose {shlex.quote(given)}", off_id) for name, given in ODD.items()
        },
        "status": "status",
        "erase": ("erase --purpose 'case 19'", off_id),
    }
    ends, rows = {}, {}
    for name, line in lines.items():
        before = worker.store.one("SELECT count(*) FROM report_access")
        (ends[name],) = calls(worker, line)
        rows[name] = worker.store.rows(SHOWN)[before:]
    return Logged(worker=worker, off_id=off_id, key=key, ends=ends, rows=rows)


@pytest.fixture(scope="module")
def logged(make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    with serve() as made:
        return carry_out(made, make_sqlite(), tmp_path_factory.mktemp("access"))


def row(command: str, key: str | None, purpose: str | None) -> list[tuple[object, ...]]:
    return [(pwd.getpwuid(os.getuid()).pw_name, socket.gethostname(), command, key, purpose)]


def test_each_command_leaves_a_row(logged: Logged):
    """Account, host, command, person and purpose; also where nothing of the person was found."""
    folder = logged.worker.folder
    stranger = pseudonym_of((folder / "pseudonym.key").read_bytes(), STRANGER)
    expected = {
        "explain": row("explain", logged.key, "case 17"),
        "explain of a stranger": row("explain", stranger, None),
        "failures show": row("failures show", logged.key, "case 18"),
        "report": row("report", None, "board meeting"),
        "export": row("export", None, "quarterly figures"),
        "status": [],
        # The person is gone by the time that the view is read.
        "erase": row("erase", None, "case 19"),
    }
    assert {name: logged.rows[name] for name in expected} == expected
    assert [name for name in expected if logged.ends[name].code] == []


def test_a_purpose_that_is_none(logged: Logged):
    """Each is refused, is not repeated and not kept."""
    for name, given in ODD.items():
        ended = logged.ends[name]
        assert (ended.code, ended.out, logged.rows[name]) == (2, "", []), ended.story()
        said = " ".join(ended.err.split())
        assert "give one line of up to 200 printable characters" in said
        assert given not in said
        assert STRANGER not in said


def test_no_identifier_and_no_key_is_left(logged: Logged):
    """The rows stay after ``erase``, and name nobody who was erased."""
    kept = logged.worker.store.rows("SELECT * FROM access_log")
    assert len(kept) == sum(map(len, logged.rows.values()))
    for secret in (logged.off_id, STRANGER, logged.key):
        assert secret not in str(kept)
    shown = logged.worker.store.rows("SELECT * FROM report_access WHERE person_key IS NOT NULL")
    assert [row[4] for row in shown] == ["explain"], "the stranger was not erased"
    # It is about those who use the program: it is exported only where it is named.
    folder = logged.worker.folder
    assert list(folder.glob("export/*/report_access*")) == []
    (path,) = folder.glob("access/*/report_access.csv")
    assert "case 17" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["explain", "report --out r.html", "export --out e"])
def test_what_cannot_be_logged_is_not_shown(
    two_runs: Installation, served: Sandbox, tmp_path: Path, command: str
):
    """A file that may only be read: 78."""
    shutil.copy(two_runs.store.path, tmp_path / "pts.db")
    worker = served.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")
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


def test_a_role_that_may_only_read(make_postgres: MakeDatabase, postgres_url: str, tmp_path: Path):
    """The same on PostgreSQL; INSERT on the log and its sequence is all that a reader needs."""
    with serve() as made:
        worker, off_id = install(made, make_postgres(), tmp_path, 5)
        calls(worker, "sync --json")
    url = worker.database_url
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
