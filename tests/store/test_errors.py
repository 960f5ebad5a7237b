"""What each error of a database means: tried again, 69, 78, or a bug of ours."""

import sqlite3

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.support.clock import FakeRuntime
from worker.errors import ConfigurationError, ExitCode, RosterError, UnavailableError
from worker.roster.query import QueryRoster
from worker.store.database import open_database
from worker.store.errors import ErrorClass, class_of, worker_error
from worker.store.schema.upgrade import upgrade

SERVER = make_url("postgresql://nightly:secret@db.example/pts")
FILE = make_url("sqlite:////var/lib/pts-worker/pts.db")


def of_postgresql(state: str) -> Exception:
    """The server's error, as SQLAlchemy wraps it."""
    return DBAPIError("SELECT 1", {}, asyncpg.PostgresError.new({"C": state, "M": "words"}))


def of_sqlite(code: int) -> Exception:
    cause = sqlite3.OperationalError("words")
    cause.sqlite_errorcode = code
    return OperationalError("SELECT 1", {}, cause)


@pytest.mark.parametrize(
    "fault",
    [
        of_postgresql("57P01"),  # an administrator ends the connection
        of_postgresql("57P03"),  # starting up
        of_postgresql("40001"),  # serialization
        of_postgresql("40P01"),  # deadlock
        of_postgresql("55P03"),  # a lock
        of_postgresql("53300"),  # too many connections
        of_postgresql("08006"),  # connection failure
        asyncpg.CannotConnectNowError("as it is"),
        asyncpg.InterfaceError("connection is closed"),  # lost while it is set up
        ConnectionRefusedError(111, "refused"),
        OSError(-2, "Name or service not known"),  # DNS may be down
        TimeoutError(),
        PoolTimeoutError(),
        of_sqlite(sqlite3.SQLITE_BUSY),
        of_sqlite(sqlite3.SQLITE_BUSY_RECOVERY),
        of_postgresql("53100"),  # disk full
        of_postgresql("57014"),  # cancelled
        of_sqlite(sqlite3.SQLITE_LOCKED),
        of_sqlite(sqlite3.SQLITE_FULL),
        of_sqlite(sqlite3.SQLITE_IOERR_WRITE),
    ],
)
def test_what_may_pass(fault: Exception):
    """Another attempt may succeed: it is made for as long as patience lasts, and then it is 69."""
    assert class_of(fault) == ErrorClass.RETRY
    assert worker_error(fault, SERVER).exit_code == ExitCode.UNAVAILABLE


STARTING = "DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$"
FULL = "DO $$ BEGIN RAISE SQLSTATE '53300'; END $$"


@pytest.mark.parametrize("query", [STARTING, FULL, "SELECT pg_terminate_backend(pg_backend_pid())"])
async def test_a_roster_server_that_stops(postgresql_url: str, query: str):
    """As for the store: 69, as the next run may find it."""
    with pytest.raises(UnavailableError, match="the database of the roster is unavailable"):
        await anext(QueryRoster(postgresql_url, query).entries())


async def test_a_roster_query_that_fails_while_it_streams(postgresql_url: str):
    """65, as a query that fails at once, without the driver's text, which may hold a value."""
    query = "SELECT '16858399649' AS off_id, ('x' || i)::int FROM generate_series(1, 9) AS s (i)"
    with pytest.raises(RosterError, match=r"failed: InvalidTextRepresentationError, 22P02$"):
        await anext(QueryRoster(postgresql_url, query).entries())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (of_postgresql("28P01"), "the role nightly is refused by the database pts at db.example"),
        (asyncpg.InvalidPasswordError("as it is"), "the role nightly is refused"),
        (of_postgresql("28000"), "the role nightly is refused"),
        (of_postgresql("42501"), "the role nightly lacks a privilege in the database pts"),
        (of_postgresql("2BP01"), "views that are not the worker's depend on its reporting views"),
        (of_postgresql("25006"), "the role nightly may only read in the database pts"),
        (of_postgresql("3D000"), "the database pts at db.example does not exist (for the role"),
        (of_postgresql("57P04"), "does not exist"),
        (of_postgresql("XX001"), "the database pts at db.example is damaged"),
        (of_postgresql("XX002"), "is damaged"),
        (of_postgresql("42P01"), "a statement fails in the database pts at db.example"),
        (asyncpg.ClientConfigurationError("`sslmode` must be"), "database.url cannot be used"),
        (PermissionError(13, "Permission denied"), "this account cannot open the server's socket"),
    ],
)
def test_what_somebody_must_mend_on_a_server(fault: Exception, says: str):
    """78 with the role, the database and what to do, and never the password."""
    ending = worker_error(fault, SERVER)
    assert ending.exit_code == ExitCode.CONFIGURATION
    assert says in ending.message
    assert ending.hint
    assert "secret" not in ending.message + ending.hint


def test_a_password_that_is_not_configured():
    """The hint says where it belongs."""
    without = make_url("postgresql://nightly@db.example/pts")
    assert "set database.password_file" in worker_error(of_postgresql("28P01"), without).hint
    assert "no password" not in worker_error(of_postgresql("28P01"), SERVER).hint


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (sqlite3.SQLITE_CORRUPT, "is damaged"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "is damaged"),
        (sqlite3.SQLITE_NOTADB, "is not a SQLite database"),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened"),
        (sqlite3.SQLITE_PERM, "cannot be opened"),
        (sqlite3.SQLITE_READONLY, "cannot be written"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "cannot be written"),
        (sqlite3.SQLITE_ERROR, "a statement fails in"),
    ],
)
def test_what_somebody_must_mend_of_a_file(code: int, says: str):
    """78 with the path and what to do."""
    ending = worker_error(of_sqlite(code), FILE)
    assert ending.exit_code == ExitCode.CONFIGURATION
    assert f"{FILE.database}" in ending.message
    assert says in ending.message
    assert ending.hint


def of_a_file() -> Exception:
    """What a transaction says itself, of a file that it could not write."""
    fault = ConfigurationError("report.html cannot be written")
    fault.__cause__ = PermissionError(13, "Permission denied")
    return fault


@pytest.mark.parametrize(
    "fault",
    [
        of_postgresql("23505"),
        of_postgresql("22003"),
        of_sqlite(sqlite3.SQLITE_CONSTRAINT_UNIQUE),
        IntegrityError("INSERT", {}, Exception("no code")),
        ValueError("a bug"),
        of_a_file(),
    ],
)
def test_what_is_ours(fault: Exception):
    """No outage: nobody waits for it to pass, and it is raised as it is."""
    assert class_of(fault) == ErrorClass.INTERNAL


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "words",
    [
        "Key (x)=(Kari)",
        "value '16858399649'",
        'of "Kari"',
        "x\nDETAIL: Kari",
        "9649713",
    ],
)
def test_no_value_of_a_row_is_in_a_message(words: str):
    """Drivers repeat values, in parentheses, quotes or as numbers, and rows in further lines."""
    fault = DBAPIError("SELECT 1", {}, asyncpg.PostgresError.new({"C": "53100", "M": words}))
    message = worker_error(fault, SERVER).message
    assert not any(value in message for value in ("16858399649", "Kari", "9649713"))


async def test_a_constraint_error_is_no_outage(database_url: str):
    """It leaves at once and as it is, with nothing written and nothing tried again."""
    fake = FakeRuntime()
    calls = []

    async def twice(connection) -> None:
        calls.append(fake.monotonic())
        await connection.execute(text("UPDATE lease SET fencing_token = 7"))
        row = {"host": "16858399649"}
        await connection.execute(text("INSERT INTO lease (id, host) VALUES (1, :host)"), row)

    async with open_database(database_url, fake.runtime) as database:
        with pytest.raises(IntegrityError) as raised:
            await database.write(twice)
        assert "16858399649" not in str(raised.value), "tracebacks are logged"
        assert calls == [fake.monotonic()], "it is not tried again"
        found = await database.read(
            lambda one: one.execute(text("SELECT fencing_token FROM lease"))
        )
        assert found.all() == [(0,)]


async def test_views_of_another_version(database_url: str):
    """The hint names the command that makes them anew, and it helps."""

    async def read_cohorts(connection) -> None:
        await connection.execute(text("SELECT cohort FROM report_episode"))

    async def install_older_view(connection) -> None:
        await connection.execute(text("DROP VIEW report_episode"))
        await connection.execute(text("CREATE VIEW report_episode AS SELECT 1 AS area"))

    async with open_database(database_url, FakeRuntime().runtime) as database:
        await database.write(install_older_view)
        with pytest.raises(ConfigurationError, match="views of another version") as ending:
            await database.read(read_cohorts)
        assert ending.value.hint.startswith("run `pts-worker db upgrade`")
        await upgrade(database)
        await database.read(read_cohorts)
