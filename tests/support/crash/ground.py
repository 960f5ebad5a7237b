"""What deaths are tried on: copies of one store, and the twin that nobody disturbed.

All begin from the same published snapshot; before the run that is disturbed PTS has changed, five
persons have left the roster and five are new. The twin's run tells what must come out.
"""

import contextlib
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.support.databases import in_database
from tests.support.made_databases import copy_of
from tests.support.program import BATCH_PERSONS, Ended, Installation, Running, Sandbox, wait_for
from tests.support.published import Store

SYNC = ("sync",)
PERSONS = 60
"""Lines of the sandbox's roster."""
EDGE = 5
"""Lines at its beginning and end that only one of the two rosters has."""
GENERATION = 15
_LIMITS = {
    "concurrency": 4,
    "requests_per_second": 150,
    "max_removed_share": 0.5,
}
"""So small that a run has some fifteen transactions; a fifth of what stands may close."""
RATE = 10
"""Requests a second with which a run goes on for ten seconds after its first batch."""
LOW_RATE = 5
"""And for twenty."""

WRITTEN = "SELECT count(*) FROM draft WHERE run_id = 2"
"""What the disturbed run has committed."""

_numbers = count(1)


def settle(url: str) -> None:
    """Wait until nothing of a dead process lives on in the server."""
    if not Store(url).is_sqlite:
        left = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{make_url(url).database}'"
        server = Store(in_database(url, "postgres"))
        wait_for(lambda: not server.rows(left), "the end of the backends")


@dataclass(kw_only=True)
class Ground:
    """A base store to copy, and what the undisturbed run made of it.

    Attributes:
        template: the URL of a database at the program's schema.
        before, after: what a reader sees before the run and after the twin's.
    """

    sandbox: Sandbox
    template: str
    folder: Path
    base: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> "Ground":
        """Make the base and run the twin."""
        lines = self.sandbox.lines()
        url = self.copy(self.template)
        undisturbed = self.install(url, lines[:-EDGE])
        self.sandbox.control(generation=0, faults=[])
        assert self.sync(undisturbed).code == 0
        self.before = undisturbed.store.published()
        settle(url)
        self.base = self.copy(url)
        undisturbed.roster(*lines[EDGE:])
        self.sandbox.control(generation=GENERATION)
        ended = self.sync(undisturbed)
        assert ended.code == 0, ended.err
        self.after = undisturbed.store.published()
        assert self.before != self.after
        return self

    def install(self, url: str, lines: Sequence[str] = ()) -> Installation:
        """A worker on a database, with the roster of the disturbed run unless lines are given."""
        folder = self.folder / f"worker-{next(_numbers)}"
        made = self.sandbox.install(folder, url, lines or self.sandbox.lines()[EDGE:])
        made.configure(sync=_LIMITS)
        made.constants[BATCH_PERSONS] = 5
        return made

    def copy(self, url: str) -> str:
        """The URL of a copy of a database that nobody uses."""
        return copy_of(url, self.folder / f"death_{next(_numbers)}")

    def worker(self) -> Installation:
        """A worker on a fresh copy of the base."""
        return self.install(self.copy(self.base))

    def start(self, worker: Installation, *arguments: str) -> Running:
        """Begin a run."""
        return worker.start(*SYNC, *arguments)

    def begun(self, worker: Installation, *, rate: int = RATE) -> Running:
        """A run that has written a batch, and has most of its work before it."""
        done = worker.store.one(WRITTEN)
        running = self.start(worker, "--set", f"sync.requests_per_second={rate}")
        wait_for(lambda: worker.store.one(WRITTEN) > done, "a batch")
        return running

    def sync(self, worker: Installation, *arguments: str) -> Ended:
        return self.start(worker, *arguments).wait()

    def seen(self, worker: Installation) -> dict[str, Any]:
        """What a reader sees. A SQLite file is looked at in a copy: looking would mend it."""
        if not worker.store.is_sqlite:
            settle(worker.database_url)
            return worker.store.published()
        copied = Store(self.copy(worker.database_url))
        try:
            return copied.published()
        finally:
            shutil.rmtree(copied.path.parent)

    def assert_recovers(self, worker: Installation) -> Ended:
        """The next run ends with 0 and the twin's result; the ledger holds nothing but that."""
        ended = self.sync(worker, "--set", "sync.requests_per_second=5000")
        assert ended.code == 0, ended.out + ended.err
        assert self.after == worker.store.published()
        assert set(worker.store.runs()) == {("published", 0)}
        assert worker.store.one("SELECT count(*) FROM lease WHERE holder IS NOT NULL") == 0
        return ended

    def assert_cannot_write(self, worker: Installation, paused: Running) -> None:
        """The paused process goes on after another run has published, and writes nothing: 75."""
        assert self.after == worker.store.published()
        before = worker.store.everything()
        paused.signal(signal.SIGCONT)
        late = paused.wait()
        assert late.code == 75, late.out + late.err
        assert "took over" in late.message
        assert before == worker.store.everything()


def pause(running: Running) -> bool:
    """Let it stand still (proc(5): state T), and wait until it does; false if it has ended."""
    running.signal(signal.SIGSTOP)

    def stands() -> bool:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="ascii")
            return stat[stat.rindex(")") + 2] == "T"
        return False

    wait_for(lambda: running.process.poll() is not None or stands(), "the pause")
    return running.process.poll() is None
