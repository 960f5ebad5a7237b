"""Exit codes of the contract, by running the program into them."""

import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from itertools import cycle
from pathlib import Path

import pytest

from tests.support.held import held_run
from tests.support.made_databases import BOTH, MakeDatabase
from tests.support.program import (
    REQUEST_TIMEOUT_S,
    Installation,
    calls,
    closed_port,
    other_key,
    wait_for,
)
from tests.support.raw_server import Reply, http
from tests.support.standin import Standin, off_id_of, persons
from tests.support.standin import standin as serve

PERSONS = 12
STOP_S_MAX = 45.0


@pytest.fixture
def lite(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    """A worker with a small roster."""
    return installed(standin, tmp_path, sqlite_url)


@pytest.fixture(scope="module")
def snapshot(make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite database after a run over the roster."""
    with serve() as standin:
        made = installed(standin, tmp_path_factory.mktemp("first"), make_sqlite())
        assert made.sync().code == 0
    return made.database_url


@pytest.fixture
def later(
    standin: Standin, tmp_path: Path, make_sqlite: MakeDatabase, snapshot: str
) -> Installation:
    """A worker on the night after that run."""
    return installed(standin, tmp_path, make_sqlite(like=snapshot))


def installed(standin: Standin, folder: Path, database_url: str) -> Installation:
    persons(standin, range(PERSONS), safeties=2, privacies=1)
    return standin.install(folder, database_url)


@pytest.mark.promise("6")
def test_0_published_completely(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """A run over a good source ends with 0, and readers see every restriction."""
    worker = installed(standin, tmp_path, database_url)
    ended = worker.sync()
    assert (ended.code, ended.run["status"], ended.run["exit_code"]) == (0, "published", 0)
    assert [reason for reason in ended.run["reasons"] if "check digits" not in reason] == []
    stored = worker.store.one("SELECT published_at FROM report_run")
    stored = datetime.fromisoformat(stored) if worker.store.is_sqlite else stored
    assert stored == datetime.fromisoformat(ended.run["published_at"])
    assert len(worker.store.ids("patient_safety")) == 2 * PERSONS
    assert len(worker.store.ids("patient_privacy")) == PERSONS
    assert standin.violations == []


@pytest.mark.promise("4")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_4_another_run_is_on(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """A second run beside the first ends with 4 and asks PTS nothing."""
    worker = installed(standin, tmp_path, database_url)
    first = held_run(standin, worker, "sync", answers=2)
    assert worker.sync().code == 4
    assert len(standin.asked) == 2 + 1
    assert first.stop().code == 75


@pytest.mark.promise("5")
def test_5_too_little_could_be_read(later: Installation, standin: Standin) -> None:
    """Fewer person-areas than sync.min_completeness is withheld as well."""
    before = later.store.published()
    for number in range(PERSONS - 2):
        kind = "text/html" if number % 2 else "application/json"
        reply = http(b"<p>", status="400 No" if number % 2 else "200 OK", kind=kind)
        standin.script[off_id_of(number), ""] = lambda _, reply=reply: reply  # type: ignore[misc]
    ended = later.sync()
    assert ended.code == 5
    after = later.store.published()
    assert after["report_patient_safety_current"] == before["report_patient_safety_current"]


def test_65_the_roster(later: Installation) -> None:
    """A roster that cannot be read is 65; nothing of the last snapshot changes."""
    before = later.store.published()
    path = later.folder / "roster.csv"
    faults: dict[str, Callable[[], object]] = {
        "no column": lambda: later.roster("1,2", header="pid,local_ref"),
        "a header alone": later.roster,
        "empty": lambda: path.write_bytes(b""),
        "not one identifier": lambda: later.roster("abc,1", "123,2"),
        "missing": path.unlink,
    }
    for fault, make in faults.items():
        make()
        ended = later.sync()
        assert ended.code == 65, fault
        assert later.store.published() == before, fault
        assert "roster" in ended.out


def test_69_pts_is_down(later: Installation) -> None:
    """Nobody at PTS's address is 69; nothing is lost, and the next run publishes.

    It begins anew: a run is continued at the address that it began with.
    """
    good, away = later.settings["api"]["base_url"], f"http://127.0.0.1:{closed_port()}/v1"
    later.configure(api={"base_url": away})
    running = later.start("sync", "--accept-service", "--set", "sync.patience=10m")
    running.until_logged("breaker.opened")
    stopped = running.stop()
    assert (stopped.code, f"; PTS is {away}," in stopped.out) == (75, True), stopped.story()
    ended = later.sync("--accept-service")
    assert ended.code == 69, ended.out
    assert len(later.store.ids()) == 2 * PERSONS
    later.configure(api={"base_url": good})
    again = later.sync("--accept-service")
    assert (again.code, again.run["continued"]) == (0, False)


def test_69_pts_answers_503(lite: Installation, standin: Standin) -> None:
    """PTS answers each request with 503. The next run adds these retries to its own."""
    standin.everybody = lambda _: http(status="503 Service Unavailable")
    ended = lite.sync()
    assert ended.code == 69, ended.out
    ((requests, retries),) = lite.store.rows("SELECT requests, retries FROM run")
    again = len(standin.asked) - len(set(standin.asked))
    assert (requests, 0 < retries <= again) == (len(standin.asked), True)
    standin.everybody = None
    run = lite.sync().run
    assert (run["continued"], run["totals"]["retries"]) == (True, retries)


ENDLESS = (
    "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) as off_id from t"
)


def files_of(process: int) -> set[str]:
    found = set()
    for one in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            found.add(str(one.readlink()))
    return found


@pytest.mark.promise("3")
@pytest.mark.parametrize(
    ("command", "driver"),
    [("sync", "sqlite"), ("sync", "sqlite+aiosqlite"), ("doctor", "sqlite+pysqlite")],
)
def test_75_while_a_thread_is_stuck(lite: Installation, command: str, driver: str) -> None:
    """A query that goes on in its thread does not keep the process; what it held is given back."""
    roster = lite.folder / "ehr.db"
    roster.touch()
    lite.configure(roster={"path": None, "url": f"{driver}:///{roster}", "query": ENDLESS})
    running = lite.start(command)
    wait_for(lambda: str(roster) in files_of(running.process.pid), "the query")
    ended = running.stop()  # the query would never end
    assert ended.code == 75, ended.story()
    if command == "sync":
        assert ended.run["status"] == "interrupted"
    lite.configure(roster={"path": "roster.csv", "url": None, "query": None})
    assert lite.sync().code == 0
    assert [path.name for path in lite.folder.iterdir() if ".part" in path.name] == []


SILENT_NAMES = """
import socket, time
socket.getaddrinfo = lambda *given, **named: (open("asked", "w").close(), time.sleep(600))
"""


@pytest.mark.promise("3")
def test_75_while_name_servers_are_silent(lite: Installation) -> None:
    """The look-up cannot be ended, and does not keep the process."""
    running = lite.start("sync", before=SILENT_NAMES)
    wait_for((lite.folder / "asked").exists, "the look-up")
    ended = running.stop()
    assert ended.code == 75, ended.story()


@pytest.mark.promise("3")
def test_75_at_the_deadline(lite: Installation, standin: Standin) -> None:
    """A run that would last longer is stopped by `sync.deadline`, and the next one continues it."""
    standin.everybody = lambda _: Reply(data=b"", before_s=600.0)
    ended = lite.sync("--set", "sync.deadline=1s")
    assert (ended.code, ended.run["status"]) == (75, "interrupted"), ended.story()
    standin.everybody = None
    assert lite.sync().run["continued"]


OPEN = b"HTTP/1.1 200 OK\r\n"
FLOOD = b"10000\r\n" + b" " * 65_536 + b"\r\n"
BEGUN = OPEN + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n"
HOSTILE = {
    "silence": Reply(data=OPEN, then="hang"),
    "drip": Reply(data=OPEN + b"X-A: b\r\n" * 1200, slices=1200, pause_s=0.05, then="hang"),
    "flood": Reply(data=BEGUN + FLOOD * 200, slices=200, pause_s=0.05, then="hang"),
}


@pytest.mark.promise("3")
def test_75_under_a_hostile_pts(lite: Installation, standin: Standin) -> None:
    """A stop does not wait for answers that never end: ten seconds, on a busy machine some more."""
    replies = cycle(HOSTILE.values())
    standin.everybody = lambda _: next(replies)
    lite.constants[REQUEST_TIMEOUT_S] = 120.0
    running = lite.start("sync")
    wait_for(lambda: len(standin.asked) > len(HOSTILE), "one search of each kind")
    running.signal(signal.SIGTERM)
    ended = running.wait(STOP_S_MAX)
    assert (ended.code, ended.run["status"]) == (75, "interrupted"), ended.story()


def test_77_an_unregistered_client(lite: Installation) -> None:
    """The summary says it once, in at most twenty words."""
    lite.configure(helseid={"client_id": "00000000-0000-4000-8000-000000000bad"})
    (ended,) = calls(lite, "sync")
    assert (ended.code, ended.out.count("invalid_client")) == (77, 1), ended.story()
    _, *reasons = ended.out.replace("  ! ", "").splitlines()
    assert len(" ".join(reasons).split()) <= 20


@pytest.mark.promise("12")
@pytest.mark.parametrize("privacy", [{"pseudonym_key_file": "other.key"}, {"identity": "plain"}])
def test_78_another_identity(
    later: Installation, standin: Standin, privacy: dict[str, str]
) -> None:
    """Another key, or none, would make strangers of everyone: 78, before anything is asked."""
    before = later.store.published()
    other_key(later.folder)
    later.configure(privacy=privacy)
    ended = later.sync()
    assert ended.code == 78, ended.out
    assert "privacy." in ended.message
    assert (later.store.published(), standin.asked) == (before, [])
