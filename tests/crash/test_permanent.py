"""What will not pass by itself ends with 78 and says what to mend; nobody waits for it."""

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import anyio
import pytest

from tests.support.crash.disks import small_disk
from tests.support.crash.ground import Ground, SqliteFiles, name_of
from tests.support.crash.servers import OwnServer, own_server
from tests.support.databases import execute, in_database
from tests.support.program import Ended, Installation
from tests.support.published import Store

COMMANDS = ("sync", "status", "doctor")
SOON_S = 20.0
"""Far less than ``database.patience_s``, however busy this machine is."""


def run(ground: Ground, worker: Installation, command: str, *, obeys: bool | None = None) -> Ended:
    """The command; where the database is a file, by a process that obeys the modes of files."""
    words = ("--config", str(worker.config), command, "--json")
    obeys = worker.store.is_sqlite if obeys is None else obeys
    return ground.zygote.start(*words, folder=worker.folder, obeys_modes=obeys).wait()


def said_by(ended: Ended) -> str:
    """What it says of the database."""
    document = ended.document
    if "lines" not in document:
        return ended.message
    (line,) = (one for one in document["lines"] if one["name"] == "database")
    assert line["state"] == "FAIL"
    return f"{line['text']} {line['hint']}"


def assert_to_mend(ended: Ended, *words: str) -> None:
    """78 at once, with these words and no traceback."""
    assert ended.code == 78, ended.out + ended.err
    said = said_by(ended)
    for word in words:
        assert word in said, said
    assert "Traceback" not in ended.err
    assert "database.retry" not in ended.err
    assert ended.took_s < SOON_S


def corrupt(path: Path) -> None:
    """Some pages in the middle are another file's."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)


def corrupt_schema(path: Path) -> None:
    """The schema holds bytes that are no text: the driver cannot even give SQLite's message."""
    content = path.read_bytes()
    assert b"CREATE TABLE person_area (" in content
    path.write_bytes(
        content.replace(b"CREATE TABLE person_area (", b"CREATE \xff\xfe\xff\xfe\xff person_area (")
    )


def replace_by_text(path: Path) -> None:
    path.write_bytes(b"this is not a database, and it is long enough to be looked at" * 50)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (corrupt, "is damaged"),
    "damaged schema": (corrupt_schema, "is damaged"),
    "no database": (replace_by_text, "is no SQLite database"),
    "a folder": (make_a_folder, "it is a folder"),
    "not to be read": (lambda path: path.chmod(0), "the file may not be read"),
}


@pytest.mark.parametrize(
    ("what", "command"), [("damaged", "status"), ("damaged", "doctor"), *product(FILES, ["sync"])]
)
def test_a_file(on_sqlite: Ground, what: str, command: str):
    """The path and what is wrong with it."""
    worker = on_sqlite.worker()
    spoil, says = FILES[what]
    spoil(worker.store.path)
    spoilt = worker.store.path.stat()
    assert_to_mend(run(on_sqlite, worker, command), str(worker.store.path), says)
    after = worker.store.path.stat()
    assert (spoilt.st_size, spoilt.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_may_not_be_written(on_sqlite: Ground, command: str):
    """SQLite keeps its log beside the file."""
    worker = on_sqlite.worker()
    folder = worker.store.path.parent
    folder.chmod(0o555)
    try:
        ended = run(on_sqlite, worker, command)
    finally:
        folder.chmod(0o755)
    assert_to_mend(ended, str(worker.store.path), f"the folder {folder} may not be written")
    assert on_sqlite.before == worker.store.published()
    if command == "sync":
        on_sqlite.assert_recovers(worker)


@pytest.mark.promise("3")
def test_a_file_that_may_not_be_written(on_sqlite: Ground):
    """Looking works; a run says that it cannot write."""
    worker = on_sqlite.worker()
    worker.store.path.chmod(0o400)
    assert_to_mend(
        run(on_sqlite, worker, "sync"), str(worker.store.path), "the file may not be written"
    )
    assert run(on_sqlite, worker, "status").code == 0
    worker.store.path.chmod(0o600)
    assert on_sqlite.before == worker.store.published()
    on_sqlite.assert_recovers(worker)


def test_a_medium_that_may_not_be_written(on_sqlite: Ground):
    """So it is on a disk that is read only."""
    with small_disk(8) as disk:
        if disk is None:
            pytest.skip("no disk may be mounted here")
        files = SqliteFiles(folder=disk.folder, template=Store(on_sqlite.base).path)
        worker = on_sqlite.install(files.copy(on_sqlite.base))
        disk.protect()
        ended = run(on_sqlite, worker, "sync")
    assert_to_mend(ended, str(worker.store.path), "a read-only disk cannot hold the database")


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """A server of these tests' own, which asks some roles for their passwords."""
    with own_server() as made:
        for name in ("reader", "stranger", "careful", "wary"):
            anyio.run(execute, made.url, f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
        anyio.run(execute, made.url, "ALTER ROLE careful SET default_transaction_read_only = on")
        anyio.run(execute, made.url, "GRANT pg_read_all_data TO reader")
        anyio.run(execute, made.url, "GRANT pg_read_all_data, pg_write_all_data TO careful")
        rules = Path(Store(made.url).one("SHOW hba_file"))
        rules.write_text(f"local all wary scram-sha-256\n{rules.read_text()}")
        anyio.run(execute, made.url, "SELECT pg_reload_conf()")
        yield made


def as_role(url: str, account: str) -> str:
    """The URL for another role."""
    made, count = re.subn(r"//[^@]*@", f"//{account}@", url)
    assert count == 1
    return made


ROLES = {
    "reader": ("sync", "lacks a privilege"),
    "careful": ("sync", "may only read"),
    "stranger": ("status", "lacks a privilege"),
    "nobody": ("status", "is refused"),
}


@pytest.mark.promise("3")
@pytest.mark.parametrize("role", ROLES)
def test_a_role(on_server: Ground, role: str):
    """Missing privileges, a role that only reads, and one that there is not."""
    worker = on_server.worker()
    command, says = ROLES[role]
    worker.configure(database={"url": as_role(worker.database_url, role)})
    ended = run(on_server, worker, command)
    assert_to_mend(ended, f"the role {role}", name_of(worker.database_url), says)
    assert on_server.before == worker.store.published()
    if command == "sync":
        worker.configure(database={"url": worker.database_url})
        on_server.assert_recovers(worker)


@pytest.mark.parametrize(("password", "command"), [(":wrong", "sync"), ("", "status")])
def test_a_password(on_server: Ground, password: str, command: str):
    """It is refused, and not shown."""
    worker = on_server.worker()
    worker.configure(database={"url": as_role(worker.database_url, f"wary{password}")})
    ended = run(on_server, worker, command)
    assert_to_mend(ended, "the role wary", "is refused", "password_file")
    assert "wrong" not in ended.out + ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_database(on_server: Ground, command: str):
    """The server says that there is none of this name."""
    worker = on_server.worker()
    worker.configure(database={"url": in_database(worker.database_url, "elsewhere")})
    assert_to_mend(run(on_server, worker, command), "no such database", "elsewhere")


def test_a_socket(on_server: Ground):
    """The server's, in a folder that is closed to this account."""
    worker = on_server.worker()
    ended = run(on_server, worker, "sync", obeys=True)
    assert_to_mend(ended, "socket may not be opened", name_of(worker.database_url))


@pytest.mark.parametrize(
    ("command", "behind", "says"),
    [
        ("sync", "?sslmode=verify-ca", "name a private CA with sslrootcert=FILE"),
        ("status", "?sslmode=perhaps", "has an unknown value of sslmode"),
        ("doctor", "?tlsmode=verify-full", "unknown parameters: tlsmode"),
        ("sync", "?prepared_statement_cache_size=many", "cannot be used"),
    ],
)
def test_parameters(on_server: Ground, behind: str, says: str, command: str):
    """Unknown ones are refused before anything is connected to, and so are impossible values."""
    worker = on_server.worker()
    worker.configure(database={"url": f"postgresql://u@localhost/pts{behind}"})
    ended = run(on_server, worker, command)
    assert ended.code == 78, ended.out + ended.err
    assert says in ended.out
    assert "database.url" in ended.out
    assert "Traceback" not in ended.err
