"""Shards of one run that are killed, paused and replaced at random."""

import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from tests.support.crash.ground import Ground, has_begun, pause
from tests.support.program import Ended, Installation, Running, wait_for

LEASE_TTL_S = 5
RATE = 60
"""Requests a second over all shards: a run takes some four seconds, long enough to be disturbed."""
KILLED, PAUSED, REPLACED = "kills", "pauses", "paused beyond the lease and replaced"
IN_THE_WAY = "of these in the way until they were woken"


@dataclass(kw_only=True)
class Shards:
    """The processes at one run, and what was done to them.

    Attributes:
        live: by shard, the process that works on it now.
        slept: by shard, those that were paused for longer than their lease and replaced.
    """

    ground: Ground
    worker: Installation
    count: int
    live: dict[int, Running] = field(default_factory=dict)
    slept: list[tuple[int, Running]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def start(self, index: int) -> None:
        """Start a shard, or start it again."""
        words = ("--shard", f"{index}/{self.count}", "--run-key", "night", "--wait", "60s")
        self.live[index] = self.ground.start(self.worker, *words)

    def strike(self, random: Random) -> None:
        """Let one of them die, sleep, or oversleep."""
        index = random.randrange(self.count)
        running = self.live[index]
        if random.random() < 0.8:
            wait_for(lambda: has_begun(running), "a shard")
        time.sleep(random.uniform(0, 0.8))
        if running.process.poll() is not None:
            return
        kind = random.choices((KILLED, PAUSED, REPLACED), (6, 1, 2))[0]
        if kind == KILLED:
            running.kill()
            self.start(index)
        else:
            if not pause(running):
                return
            if kind == PAUSED:
                time.sleep(random.uniform(0, LEASE_TTL_S / 2))
                running.signal(signal.SIGCONT)
            else:
                self.slept.append((index, running))
                self.start(index)
        self.done[kind] += 1

    def finish(self) -> None:
        """All come to their end, and those that overslept wake up to write nothing."""
        for index in range(self.count):
            ended = self.live[index].wait()
            if ended.code == 4:
                ended = self._wake_the_one_in_the_way(index)
            assert ended.code == 0, f"shard {index}: {ended.out}{ended.err}"
        assert self.ground.after == self.worker.store.published(), "another result"
        assert self.worker.store.runs() == [("published", 0)] * 2, self.worker.store.runs()
        before = self.worker.store.everything()
        for _, running in self.slept:
            running.signal(signal.SIGCONT)
            late = running.wait()
            # One that had not held the lease yet takes it now, and finds that all is done.
            was_early = late.code == 0 and "already published" in late.out
            assert was_early or late.code == 75, f"one that overslept: {late.out}{late.err}"
        after = self.worker.store.everything()
        del before["lease"], after["lease"]
        assert before == after, "one that overslept has written"

    def _wake_the_one_in_the_way(self, index: int) -> Ended:
        """One that sleeps with its lease's row locked: see ``test_paused_within_a_transaction``.

        It holds its lease still, so that it may go on; then its shard is done.
        """
        ours = [running for where, running in self.slept if where == index]
        assert ours, "held by nobody who sleeps"
        self.slept = [one for one in self.slept if one[0] != index]
        self.done[IN_THE_WAY] += 1
        for running in ours:
            running.signal(signal.SIGCONT)
            late = running.wait()
            assert late.code in (0, 75), f"one in the way: {late.out}{late.err}"
        self.start(index)
        return self.live[index].wait()


def disturb(ground: Ground, random: Random) -> Counter[str]:
    """One run of two to four shards that is disturbed and ends as the undisturbed twin's.

    Returns:
        What was done to them.
    """
    worker = ground.worker()
    worker.configure(sync={"requests_per_second": RATE}, lease={"ttl_s": LEASE_TTL_S})
    shards = Shards(ground=ground, worker=worker, count=random.choice((2, 3, 4)))
    try:
        for index in range(shards.count):
            shards.start(index)
        for _ in range(random.randint(1, 6)):
            shards.strike(random)
        shards.finish()
    finally:
        for running in (*shards.live.values(), *(one for _, one in shards.slept)):
            running.process.kill()
    ground.databases.drop(worker.database_url)
    shutil.rmtree(worker.folder)
    return shards.done
