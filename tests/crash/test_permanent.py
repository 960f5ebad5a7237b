"""What will not pass by itself ends with 78 and says what to mend; nobody waits for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.crash.ground import Ground
from tests.support.databases import in_database
from tests.support.program import Ended, Installation


def run(worker: Installation, command: str, *, obeys: bool = True) -> Ended:
    """The command, by a process that obeys the modes of files; it would be patient for a minute."""
    return worker.run(command, obeys_modes=obeys)


def said_by(ended: Ended) -> str:
    """What it says of the database."""
    document = ended.document
    if "lines" not in document:
        return ended.message
    (line,) = (one for one in document["lines"] if one["name"] == "database")
    assert line["state"] == "FAIL"
    return f"{line['text']} {line['hint']}"


def assert_to_mend(ended: Ended, *words: str) -> None:
    """78 without waiting, with these words and no traceback."""
    assert ended.code == 78, ended.out + ended.err
    said = said_by(ended)
    assert [word for word in words if word not in said] == [], said
    assert "Traceback" not in ended.err
    assert ended.events("database.retry") == []


# Files


def corrupt_schema(path: Path) -> None:
    """The schema holds bytes that are no text: the driver cannot even give SQLite's message."""
    content, name = path.read_bytes(), b"CREATE TABLE change_feed ("
    assert name in content
    path.write_bytes(content.replace(name, b"CREATE \xff\xfe\xff\xfe\xff change_feed ("))


def not_to_be_read(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize(
    ("spoil", "says", "command"),
    [
        *((corrupt_schema, "is damaged", command) for command in ("sync", "status", "doctor")),
        *((not_to_be_read, "cannot be opened", command) for command in ("sync", "status")),
    ],
)
def test_a_file(on_sqlite: Ground, spoil: Callable[[Path], None], says: str, command: str):
    """The path and what is wrong with it; it is left as it is."""
    worker = on_sqlite.worker()
    spoil(worker.store.path)
    spoilt = worker.store.path.stat()
    assert_to_mend(run(worker, command), str(worker.store.path), says)
    after = worker.store.path.stat()
    assert (after.st_size, after.st_mtime_ns) == (spoilt.st_size, spoilt.st_mtime_ns)


@pytest.mark.promise("3")
def test_what_may_not_be_written(on_sqlite: Ground):
    """The folder, where SQLite keeps its log, or the file, at which everybody may look."""
    worker = on_sqlite.worker()
    path, folder = worker.store.path, worker.store.path.parent
    folder.chmod(0o555)
    try:
        ended = {command: run(worker, command) for command in ("sync", "status")}
    finally:
        folder.chmod(0o755)
    for one in ended.values():
        assert_to_mend(one, f"{path} cannot be", "create files in its folder")
    path.chmod(0o400)
    assert_to_mend(run(worker, "sync"), str(path), "cannot be written")
    # What SQLite has made beside it has its mode, and stays.
    remedy = f"chmod u+w {path} {path}-wal {path}-shm"
    assert_to_mend(run(worker, "doctor"), f"this account may not write {path}", remedy)
    assert run(worker, "status").code == 0
    path.chmod(0o600)
    assert on_sqlite.before == worker.store.published()
    on_sqlite.assert_recovers(worker)


# Servers


@pytest.mark.parametrize("command", ["sync", "status", "doctor"])
def test_an_unknown_database(on_postgres: Ground, command: str):
    """The server says that there is none of this name."""
    worker = on_postgres.worker()
    worker.configure(database={"url": in_database(worker.database_url, "elsewhere")})
    ended = run(worker, command, obeys=False)
    assert_to_mend(ended, "does not exist", "elsewhere")
