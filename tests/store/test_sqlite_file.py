"""The file of a SQLite database is its owner's alone, whatever the umask says."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from tests.support.clock import FakeRuntime
from worker.errors import ConfigurationError
from worker.store.database import open_database

pytestmark = pytest.mark.promise("8")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """The mode of each file, in octal."""
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


@pytest.fixture
def path(migrated_sqlite: Path, tmp_path: Path) -> Path:
    """A database file."""
    return Path(shutil.copy(migrated_sqlite, tmp_path / "pts.db"))


async def write_and_list(path: Path, *, is_group_readable: bool = False) -> dict[str, str]:
    """Write to a database, and list the files while it is open."""
    url = f"sqlite:///{path}"
    async with open_database(
        url, FakeRuntime().runtime, is_group_readable=is_group_readable
    ) as database:
        await database.write(lambda one: one.execute(text("CREATE TABLE t (x)")))
        return modes(path.parent)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("is_group_readable", "mode"), [(False, 0o600), (True, 0o640)])
async def test_it_and_its_log(tmp_path: Path, is_group_readable: bool, mode: int):
    """The file, its write-ahead log and its shared memory: 0600, or 0640 if configured."""
    found = await write_and_list(tmp_path / "pts.db", is_group_readable=is_group_readable)
    assert found == dict.fromkeys(("pts.db", "pts.db-wal", "pts.db-shm"), oct(mode))


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o1777, "every account on this machine"),
        (0o1775, "its group"),
        (0o1773, "every account on"),
    ],
)
@pytest.mark.parametrize("is_linked", [False, True])
def test_others_can_make_files_beside_it(
    path: Path, tmp_path: Path, mode: int, who: str, is_linked: bool
):
    """A sticky folder lets anybody plant a journal, which SQLite obeys."""
    shared = tmp_path / "shared"
    shared.mkdir()
    file = path.rename(shared / "pts.db")
    if is_linked:
        path.symlink_to(file)
    shared.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"{who}.* can write {shared}") as caught:
        anyio.run(write_and_list, path if is_linked else file)
    assert f"{shared} (mode {mode:04o})" in caught.value.message
    assert "mkdir -m 700" in caught.value.hint


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_others_can_write_a_file_beside_it(path: Path, suffix: str):
    """SQLite takes pages from these files."""
    beside = Path(f"{path}{suffix}")
    beside.touch()
    beside.chmod(0o666)
    with pytest.raises(ConfigurationError, match=f"can write {beside}"):
        anyio.run(open_alone, path)


async def open_alone(path: Path) -> None:
    """Neither read nor write."""
    async with open_database(f"sqlite:///{path}", FakeRuntime().runtime):
        pass


def test_none_is_made_where_others_can_make_files(tmp_path: Path):
    """The first command of all is refused already, and opening alone makes no file.

    A sticky folder further up will do: nobody can exchange ours in it.
    """
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="can write"):
        anyio.run(write_and_list, tmp_path / "pts.db")
    assert modes(tmp_path) == {}
    folder = tmp_path / "ours"
    folder.mkdir(mode=0o700)
    anyio.run(open_alone, folder / "pts.db")
    assert modes(folder) == {}
    assert "pts.db" in anyio.run(write_and_list, folder / "pts.db")
