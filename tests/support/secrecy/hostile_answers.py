"""Answers of 16 MiB that are made to take memory, and what a run over them takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.program import BATCH_PERSONS, REQUEST_TIMEOUT_S, Ended, Installation
from tests.support.raw_server import Reply
from tests.support.secrecy.memory import peak_of
from tests.support.standin import SAFETY, Answerer, Standin, person
from worker.core.budgets import RECORDS_MAX

SIZE: Final = 16 * 1024 * 1024
PATIENCE_S: Final = 240.0
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_MIB: Final = 1024 * 1024


def filled(unit: bytes, *, start: bytes = b"[", end: bytes = b"]", times: int = SIZE) -> bytes:
    """A list of so many units, as far as there is room, padded with blanks to the full size."""
    room = (SIZE - len(start) - len(end)) // (len(unit) + 1)
    body = start + b",".join([unit] * min(times, room))
    return body.ljust(SIZE - len(end)) + end


def bodies() -> Mapping[str, bytes]:
    """Each is as large as an answer may be, and large in another way."""
    record = b'{"id":"%d","new%d":"%d","confidentialityCode":"N"}'
    records = b",".join(record % (n, n, n) for n in range(RECORDS_MAX))
    return {
        "blanks": b"[".ljust(SIZE - 1) + b"]",
        "objects": filled(b"{}"),
        "one text": filled(b'"' + b"x" * (SIZE - 100) + b'"'),
        "a record": filled(
            b'{"a":1}',
            start=b'[{"id":"1","confidentialityCode":"N","z":[',
            end=b"]}]",
            times=90_000,
        ),
        "records": (b"[" + records).ljust(SIZE - 1) + b"]",
    }


def declared(body: bytes) -> Reply:
    """With a length."""
    return Reply(data=_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def in_tiny_chunks(body: bytes, *, tiny: int) -> Reply:
    """In chunks of 64 KiB, but so many bytes at the end in chunks of two."""
    large = body[: len(body) - tiny]
    parts = [large[at : at + 65_536] for at in range(0, len(large), 65_536)]
    data = bytearray(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for part in parts:
        data += b"%x\r\n%b\r\n" % (len(part), part)
    rest = body[len(large) :]
    data += b"".join(b"2\r\n%b\r\n" % rest[at : at + 2] for at in range(0, len(rest), 2))
    return Reply(data=bytes(data) + b"0\r\n\r\n")


def always(reply: Reply) -> Answerer:
    """Answers whatever is asked."""
    return lambda _: reply


def run_over(
    made: Standin, folder: Path, replies: Mapping[str, Reply]
) -> tuple[float, Ended, Installation]:
    """A run over persons with these answers, each after an ordinary person, one at a time.

    Returns:
        The most memory that it held, in MiB; how it ended; and what it ran with.
    """
    for number, reply in enumerate(replies.values()):
        person(made, 2 * number, safeties=1)
        made.script[person(made, 2 * number + 1), SAFETY] = always(reply)
    person(made, 2 * len(replies), safeties=1)
    worker = made.install(folder, f"sqlite:///{folder / 'pts.db'}")
    worker.configure(
        sync={
            "areas": ["patient-safety"],
            "concurrency": 1,
            "retry_attempts": 1,
            "min_completeness": 0.1,
        },
    )
    worker.constants.update({BATCH_PERSONS: 1, REQUEST_TIMEOUT_S: PATIENCE_S})
    assert worker.run("db", "upgrade").code == 0
    running = worker.start("sync", afresh=True)
    peak = peak_of(running, PATIENCE_S) * 1e6 / _MIB
    return peak, running.wait(PATIENCE_S), worker


def reasons(ended: Ended) -> list[str]:
    """Why areas were not read, as logged."""
    return sorted(line["reason"] for line in ended.events("area.unread"))
