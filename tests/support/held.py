"""Runs that are held at a named point: after so many answers PTS gives no more."""

from tests.support.program import BATCH_PERSONS, REQUEST_TIMEOUT_S, Installation, Running, wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import Ask, Standin

HELD_S = 100
"""How long a search waits that is not to be answered, and so long a run waits for it."""


def held_run(
    standin: Standin, worker: Installation, *words: str, answers: int, stdin: bytes | None = None
) -> Running:
    """Start a command and wait until PTS has answered so many searches, and been asked for more.

    They are asked one at a time, and written two persons at a time. PTS answers again what is asked
    after this, by another process.
    """
    limit = len(standin.asked) + answers

    def reply(ask: Ask) -> Reply:
        return http(ask.records, before_s=HELD_S if len(standin.asked) > limit else 0.0)

    worker.configure(sync={"concurrency": 1})
    worker.constants[REQUEST_TIMEOUT_S] = HELD_S
    worker.constants[BATCH_PERSONS] = 2
    before, standin.everybody = standin.everybody, reply
    running = worker.start(*words, stdin=stdin)
    wait_for(lambda: len(standin.asked) > limit, "the search that is not answered")
    standin.everybody = before
    return running
