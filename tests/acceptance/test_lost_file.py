"""A SQLite file that somebody removes or replaces while a run is on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import BATCH_PERSONS
from tests.support.raw_server import Reply, http
from tests.support.standin import Ask, Standin, person

PERSONS = 10


def remove(path: Path) -> None:
    """The file, and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def replace(path: Path) -> None:
    """By another file of the same content, with a rename."""
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    copy.rename(path)


@pytest.mark.promise("3")
@pytest.mark.parametrize(
    ("lose", "answers"),
    [(remove, 3), (replace, 2 * PERSONS - 1)],
    ids=["removed early", "replaced at the last answer"],
)
def test_a_run_does_not_publish_into_it(
    standin: Standin,
    sqlite_url: str,
    tmp_path: Path,
    lose: Callable[[Path], None],
    answers: int,
) -> None:
    """It ends with 78 and names the file."""
    for number in range(PERSONS):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, concurrency=1)
    worker.constants[BATCH_PERSONS] = 1
    path = Path(sqlite_url.removeprefix("sqlite:///"))

    def answer(ask: Ask) -> Reply:
        if len(standin.asked) == answers + 1:
            lose(path)
        return http(ask.records)

    standin.everybody = answer
    ended = worker.sync()
    assert ended.code == 78, ended.out
    assert f"the database file {path} was removed or replaced" in ended.err
    assert path.exists() is (lose is replace)
