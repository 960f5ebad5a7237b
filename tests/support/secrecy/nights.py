"""A night in which all goes wrong, at DEBUG, and all that it has left behind.

Persons whose records name them everywhere, every kind of bad answer of PTS, a death in mid-run.
What was said and written is gathered, place by place.
"""

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import anyio

from tests.support.databases import data_files_of
from tests.support.program import (
    BATCH_PERSONS,
    REQUEST_TIMEOUT_S,
    Ended,
    Installation,
    closed_port,
    environment,
    wait_for,
)
from tests.support.published import Store
from tests.support.raw_server import Reply
from tests.support.secrecy.bad_answers import good_kinds, headed, kinds, refused
from tests.support.secrecy.canaries import CANARY, JWT, OPAQUE, Place, records_of
from tests.support.standin import PRIVACY, SAFETY, Answerer, Standin, off_id_of

FIRST = 70_000
"""The number of the first person: of nobody else in the suite, who may stand in shared files."""

HEALTHY_EVERY = 3
ANSWER_S = 10.0
"""The time for a request, which slow answers outlast."""
PUSHES = 2
"""Two groups to the gateway."""
PUSHING_BACK = ("429", "503")

WATCHED = "tmp/watched"
WATCH = f"""
import os, sys

def watch(event, given, seen=os.open("{WATCHED}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system"):
        os.write(seen, f"spawned {{given!r}}\\n".encode())
    elif event == "open" and isinstance(given[0], str) and given[2] & (os.O_WRONLY | os.O_RDWR):
        os.write(seen, f"written {{os.path.abspath(given[0])}}\\n".encode())

sys.addaudithook(watch)
"""
"""Code that notes which processes the program starts, and which files it opens for writing."""


@dataclass(kw_only=True)
class Night:
    """A worker among bad answers.

    Attributes:
        plan: the answers that go wrong, or speak, by person and area.
        bad_areas: how many of them are no answer.
        healthy: persons with good answers.
        ended: how each call ended, by its line.
        crashes: what each crash had in its exception's text, by line.
        places: what was left behind so far.
    """

    made: Standin
    worker: Installation
    plan: dict[tuple[str, str], Answerer] = field(default_factory=dict)
    bad_areas: int = 0
    healthy: list[str] = field(default_factory=list)
    ended: dict[str, Ended] = field(default_factory=dict)
    crashes: dict[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    @property
    def identifiers(self) -> frozenset[str]:
        """Everyone who was asked for."""
        return frozenset(self.made.people)

    def call(self, line: str, stdin: str = "", *, label: str = "", before: str = "") -> None:
        """Call the program, and keep what came of it by label and line."""
        ended = self.worker.call(line, stdin, before=WATCH + before, env=self.environment)
        self.keep(label + line, ended)

    @property
    def environment(self) -> dict[str, str]:
        """All that is written is in the folder."""
        return environment(TMPDIR=str(self.worker.folder / "tmp"))

    def seen(self, name: str) -> list[str]:
        """What processes have ``spawned`` or ``written``."""
        path = self.worker.folder / WATCHED
        lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
        return [what for kind, what in lines if kind == name]

    def keep(self, line: str, ended: Ended) -> None:
        """Remember how a call ended, and what it said."""
        self.ended[line] = ended
        kind = "explained" if line.startswith("explain") else "output"
        self.places.append(Place(kind=kind, name=line, data=ended.out.encode()))
        self.places.append(Place(kind="log", name=line, data=ended.err.encode()))


def prepare(made: Standin, folder: Path, database_url: str, *, every: int = 1) -> Night:
    """Everyone on the roster, how each is to be answered, and a worker with metrics.

    Args:
        made: who answers.
        folder: where the worker lives.
        database_url: its database.
        every: take every so manieth kind of bad answer alone, and none that is slow; 1: all.
    """
    numbers, plan, healthy = count(FIRST), {}, []

    def person() -> str:
        off_id = off_id_of(next(numbers))
        made.people[off_id] = records_of(off_id)
        return off_id

    named = kinds(slow=every == 1)
    # Answers that ask for a pause slow down those who come after.
    last = sorted(named, key=lambda name: name in PUSHING_BACK)[::every]
    for number, name in enumerate(last):
        if number % HEALTHY_EVERY == 0:
            healthy.append(person())
        plan[person(), (SAFETY, PRIVACY)[number % 2]] = refused(named[name])
    for answerer in good_kinds().values():
        plan[person(), SAFETY] = headed(answerer)
    made.script = dict(plan)
    said = f"{CANARY} {healthy[0]} {OPAQUE}"
    # Fields beside a good token that nobody asked for.
    made.token_more = {"scope": f"nhn:pts/api {said}", "id_token": JWT, "of": said}
    made.token_more["refresh_token"] = OPAQUE

    worker = made.install(folder, database_url)
    worker.constants[REQUEST_TIMEOUT_S] = ANSWER_S
    for name in ("keys", "metrics", "tmp"):
        (folder / name).mkdir()
    worker.configure(
        log={"level": "DEBUG"},
        telemetry={"textfile": "metrics/pts.prom"},
    )
    first, second, third = healthy[:3]
    worker.roster(
        *made.lines(),
        f"{first}7,bad",
        f"{second[1:]},bad",
        f'"{third},bad',
        f"{third},of {third}",
        "x,y",
    )
    return Night(made=made, worker=worker, plan=plan, bad_areas=len(last), healthy=healthy)


def killed_in_mid_run(night: Night) -> None:
    """A process that dies while it writes, and the database as nobody has opened it since."""
    made, store = night.made, night.worker.store
    made.script[night.healthy[-1], SAFETY] = lambda _: Reply(data=b"", before_s=600.0)
    night.worker.constants.update({BATCH_PERSONS: 9, REQUEST_TIMEOUT_S: 120.0})
    running = night.worker.start("sync", "--log-format", "console", afresh=True)
    wait_for(lambda: store.one("SELECT count(*) FROM draft_patient_safety"), "a batch")
    command = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
    running.kill()
    del night.worker.constants[BATCH_PERSONS]
    night.worker.constants[REQUEST_TIMEOUT_S] = ANSWER_S
    night.places.append(Place(kind="arguments", name="sync", data=command))
    night.places += database_files(store, "killed")
    store.end_lease()
    night.keep("(killed) sync", running.wait())


def database_files(store: Store, when: str) -> Iterator[Place]:
    """A SQLite file with its write-ahead log, as they are at this moment."""
    if store.is_sqlite:
        for path in sorted(store.path.parent.glob(f"{store.path.name}*")):
            yield Place(kind="database", name=f"{path.name} {when}", data=path.read_bytes())


def database_bytes(store: Store) -> bytes:
    """All that the database holds on disk."""
    files = b"".join(place.data for place in database_files(store, "now"))
    return files or anyio.run(data_files_of, store.url)


def scheduled(night: Night) -> None:
    """``schedule`` with all telemetry, stopped by a signal after its first run."""
    made, port = night.made, closed_port()
    night.worker.configure(
        telemetry={
            "http_listen": f"127.0.0.1:{port}",
            "pushgateway_url": f"{made.origin}/pushed/gateway",
        }
    )
    running = night.worker.start("schedule", "--now", before=WATCH, env=night.environment)
    wait_for(lambda: len(made.pushed) >= PUSHES, "the numbers of the first run")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        night.places.append(Place(kind="metrics", name="/metrics", data=page.read()))
    night.keep("schedule --now --json", running.stop())
    night.worker.configure(telemetry={"http_listen": None, "pushgateway_url": None})
