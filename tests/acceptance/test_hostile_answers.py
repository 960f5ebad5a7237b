"""Answers of 16 MiB that are made to take memory: what a run over them takes, and notes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.program import BATCH_PERSONS, REQUEST_TIMEOUT_S, Ended, Installation
from tests.support.raw_server import Reply
from tests.support.secrecy.memory import peak_of
from tests.support.standin import SAFETY, Standin, person, standin
from worker.core.paging import RECORDS_MAX
from worker.core.record import DRIFT_MAX

pytestmark = [pytest.mark.promise("10"), pytest.mark.nightly]

SIZE: Final = 16 * 1024 * 1024
PATIENCE_S: Final = 240.0
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_MIB: Final = 1024 * 1024
MIB_MAX = 64
TINY_BYTES = 1024 * 1024

FILLED = ("objects", "one text", "a record", "records", "tiny chunks")

REFUSED = {
    "objects": "a response of more than 200000 values (at $)",
    "one text": "not an object (at [0])",
}


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


def run_over(
    made: Standin, folder: Path, replies: Mapping[str, Reply]
) -> tuple[float, Ended, Installation]:
    """A run over persons with these answers, each after an ordinary person, one at a time.

    Returns:
        The most memory that it held, in MiB; how it ended; and what it ran with.
    """
    for number, reply in enumerate(replies.values()):
        person(made, 2 * number, safeties=1)
        made.script[person(made, 2 * number + 1), SAFETY] = lambda _, reply=reply: reply  # type: ignore[misc]
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


def test_one_answer_of_16_mb_takes_less_than_64_mib(tmp_path: Path) -> None:
    """Whatever fills it, and in chunks of two bytes; it costs its person, and nobody else."""
    contents = bodies()
    replies = {name: declared(body) for name, body in contents.items()}
    replies["tiny chunks"] = in_tiny_chunks(contents["blanks"], tiny=TINY_BYTES)
    with standin() as made:
        idle, ended, _ = run_over(made, tmp_path / "idle", {})
    assert ended.code == 0, ended.err
    above_idle = {}
    for name in FILLED:
        with standin() as made:
            folder = tmp_path / name.replace(" ", "-")
            peak, ended, worker = run_over(made, folder, {name: replies[name]})
        above_idle[name] = round(peak - idle, 1)
        reason = REFUSED.get(name)
        assert ended.code == (3 if reason else 0), ended.err
        assert reasons(ended) == ([reason] if reason else [])
        assert ended.run["totals"]["persons_complete"] == (2 if reason else 3)
        if name == "records":
            _assert_drift_has_a_limit(worker)
    assert {name: mib for name, mib in above_idle.items() if mib >= MIB_MAX} == {}, above_idle


def _assert_drift_has_a_limit(worker: Installation) -> None:
    """Each record had a new field of its own: a hundred keep their name, the others share one."""
    assert worker.store.one("SELECT count(*) FROM drift") == DRIFT_MAX + 1
    unnamed = "SELECT records FROM drift WHERE field = '?'"
    assert worker.store.one(unnamed) == RECORDS_MAX - DRIFT_MAX
