"""A backup taken in the middle of a run is copied back, and the next run continues."""

import shutil
from pathlib import Path

import pytest

from tests.support.acceptance.two_worlds import PERSONS, first_world, settled
from tests.support.held import held_run
from tests.support.program import Installation, wait_for
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    privacy,
    ref_of,
    safety,
)


def second_world(standin: Standin) -> None:
    """Some restrictions are new, some changed, some gone, and a few persons come and go."""
    for number in range(PERSONS):
        off_id = off_id_of(number)
        found = standin.people[off_id]
        if number % 5 == 0:
            found[SAFETY].append(safety(off_id, "new", confidentialityCode="NORN_DUP"))
        if number % 7 == 0:
            found[PRIVACY] = [privacy(off_id, "0", privacyLevel="Hard")]
        if number % 20 == 1:
            found[SAFETY].pop()
    standin.people.pop(off_id_of(3))
    for number in range(PERSONS, PERSONS + 4):
        person(standin, number, safeties=2)


def asked_since(standin: Standin, begin: int) -> set[tuple[str, str]]:
    """Areas that PTS was asked about since then, by local reference."""
    return {(ref_of(off_id), area) for off_id, area in standin.asked[begin:]}


@pytest.mark.promise("3")
def test_a_backup_in_mid_run_is_copied_back(
    standin: Standin, sqlite_url: str, tmp_path: Path
) -> None:
    """Taken while a run writes, which is then killed; the next run continues.

    What was read until the backup is not read again; the lease of the killed run hinders nobody.
    """
    (tmp_path / "backups").mkdir(mode=0o700)
    place = tmp_path / "backups" / "pts.backup"
    first_world(standin)
    worker = standin.install(tmp_path / "worker", sqlite_url)
    assert worker.sync().code == 0
    second_world(standin)
    worker.roster(*standin.lines())
    running = held_run(standin, worker, "sync", answers=40)
    wait_for(lambda: settled(worker), "a batch")
    save_to(worker, place)
    assert oct(place.stat().st_mode & 0o777) == "0o600"
    assert list(place.parent.iterdir()) == [place]
    worker.kill(running)
    worker.configure(sync={"concurrency": 16})
    ended = worker.sync()  # what comes after the backup, and is lost
    assert ended.code == 0
    published = worker.store.published()

    for path in worker.store.path.parent.glob("pts.db*"):
        path.unlink()
    shutil.copy(place, worker.store.path)
    worker.store.end_lease()
    assert worker.run("db", "check").code == 0
    kept = settled(worker)
    open_run = worker.store.one("SELECT run_id FROM run WHERE status = 'running'")
    assert kept, "nothing of the open run was in the backup"

    begin = len(standin.asked)
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert ended.run["run_id"] == open_run
    assert kept & asked_since(standin, begin) == set()
    assert worker.store.published() == published


def test_what_is_not_sound_is_not_copied(worker: Installation, tmp_path: Path) -> None:
    """Another key, a file that is cut, or no database: 78, and no file is left.

    Nor a copy into a folder in which others can put another one.
    """
    key = worker.settings["privacy"]["pseudonym_key_file"]
    other = tmp_path / "other.key"
    other.write_bytes(bytes(range(32)))
    other.chmod(0o600)
    worker.configure(privacy={"pseudonym_key_file": str(other)})
    assert "not the key" in not_saved(worker)
    worker.configure(privacy={"pseudonym_key_file": key})
    content = worker.store.path.read_bytes()
    worker.store.path.write_bytes(content[:-5000])
    assert f"{worker.store.path} is damaged" in not_saved(worker)
    worker.store.path.write_text("off_id\n")
    assert "is not a SQLite database" in not_saved(worker)
    worker.store.path.write_bytes(content)
    (worker.folder / "backups").chmod(0o770)
    assert "its group can write" in not_saved(worker)
    (worker.folder / "backups").chmod(0o700)
    save_to(worker, worker.folder / "backups" / "pts.db")


def not_saved(worker: Installation) -> str:
    """What ``db backup`` says of a database that it refuses."""
    folder = worker.folder / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    ended = worker.run("db", "backup", str(folder / "pts.db"))
    assert (ended.code, list(folder.iterdir())) == (78, []), ended.story()
    return ended.message


def save_to(worker: Installation, place: Path) -> None:
    """Back a SQLite database up."""
    ended = worker.run("db", "backup", str(place))
    assert ended.code == 0, ended.story()
