"""Answers of 16 MiB that are made to take memory: what a run over them takes, and notes."""

from pathlib import Path
from typing import Final

import pytest

from tests.support.program import BATCH_PERSONS, REQUEST_TIMEOUT_S, Ended, Installation
from tests.support.raw_server import Reply
from tests.support.secrecy.memory import peak_of
from tests.support.standin import SAFETY, Standin, off_id_of, persons, standin
from worker.core.paging import RECORDS_MAX
from worker.core.record import DRIFT_MAX

pytestmark = [pytest.mark.promise("10"), pytest.mark.nightly]

SIZE: Final = 16 * 1024 * 1024
PATIENCE_S: Final = 240.0
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_MIB: Final = 1024 * 1024
MIB_MAX = 64
ALL_MIB_MAX = 240
"""The program itself, 64 MiB of answers, and parsing one. Without a limit it was 600 to 800."""
REFUSED = ["a response of more than 200000 values (at $)", "not an object (at [0])"]


def filled(unit: bytes, *, start: bytes = b"[", end: bytes = b"]", times: int = SIZE) -> bytes:
    """A list of so many units, as far as there is room, padded with blanks to the full size."""
    room = (SIZE - len(start) - len(end)) // (len(unit) + 1)
    body = start + b",".join([unit] * min(times, room))
    return body.ljust(SIZE - len(end)) + end


def replies() -> list[Reply]:
    """Each is as large as an answer may be, and large in another way; the first two are refused."""
    whose = b'"patientSafetyObject":{"person":{"offId":"%b"}}' % off_id_of(1).encode()
    record = b'{"id":"%d","new%d":"%d","confidentialityCode":"N",' + whose + b"}"
    records = b",".join(record % (n, n, n) for n in range(RECORDS_MAX))
    of_values = b'[{"id":"1","confidentialityCode":"N",' + whose + b',"z":['
    bodies = (
        filled(b"{}"),
        filled(b'"' + b"x" * (SIZE - 100) + b'"'),
        filled(b'{"a":1}', start=of_values, end=b"]}]", times=90_000),
        (b"[" + records).ljust(SIZE - 1) + b"]",
    )
    blanks = b"[".ljust(SIZE - 1) + b"]"
    return [*map(declared, bodies), in_tiny_chunks(blanks)]


def declared(body: bytes) -> Reply:
    return Reply(data=_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def in_tiny_chunks(body: bytes) -> Reply:
    """In chunks of 64 KiB, but the last MiB in chunks of two bytes."""
    large = body[:-_MIB]
    parts = [large[at : at + 65_536] for at in range(0, len(large), 65_536)]
    data = bytearray(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for part in parts:
        data += b"%x\r\n%b\r\n" % (len(part), part)
    rest = body[len(large) :]
    data += b"".join(b"2\r\n%b\r\n" % rest[at : at + 2] for at in range(0, len(rest), 2))
    return Reply(data=bytes(data) + b"0\r\n\r\n")


def run_over(made: Standin, folder: Path, reply: Reply | None) -> tuple[float, Ended, Installation]:
    """A run over an ordinary person, one with this answer and another ordinary one, in turn.

    Returns:
        The most memory that it held, in MiB; how it ended; and what it ran with.
    """
    persons(made, range(3), safeties=1)
    if reply:
        made.script[off_id_of(1), SAFETY] = lambda _: reply
    worker = made.install(folder, f"sqlite:///{folder / 'pts.db'}")
    only = {"areas": ["patient-safety"], "concurrency": 1, "retry_attempts": 1}
    worker.configure(sync={**only, "min_completeness": 0.1})
    worker.constants.update({BATCH_PERSONS: 1, REQUEST_TIMEOUT_S: PATIENCE_S})
    assert worker.run("db", "upgrade").code == 0
    running = worker.start("sync", afresh=True)
    peak = peak_of(running, PATIENCE_S) * 1e6 / _MIB
    return peak, running.wait(PATIENCE_S), worker


def test_one_answer_of_16_mb_takes_less_than_64_mib(tmp_path: Path) -> None:
    """Whatever fills it, and in chunks of two bytes; it costs its person, and nobody else.

    In one of them each record has a new field: a hundred keep their name, the others share one.
    """
    with standin() as made:
        idle, ended, _ = run_over(made, tmp_path / "idle", None)
    assert ended.code == 0, ended.err
    above_idle, unnamed = [], []
    said: list[str] = []
    for number, reply in enumerate(replies()):
        with standin() as made:
            peak, ended, worker = run_over(made, tmp_path / f"{number}", reply)
        above_idle.append(round(peak - idle, 1))
        # Each pass that reads the person again reports it again.
        said += dict.fromkeys(line["reason"] for line in ended.events("area.unread"))
        unnamed += worker.store.rows("SELECT records FROM drift WHERE field = '?'")
        assert (ended.code, ended.run["totals"]["persons_total"]) == (3 if said[number:] else 0, 3)
    assert said == REFUSED
    assert unnamed == [(RECORDS_MAX - DRIFT_MAX,)]
    assert [mib for mib in above_idle if mib >= MIB_MAX] == [], above_idle


def test_sixty_four_large_answers_at_a_time(tmp_path: Path) -> None:
    """They share one limit, and everyone is read."""
    count = 64
    large = declared(filled(b"", start=b"[", end=b"]", times=0))
    with standin() as made:
        persons(made, range(count), safeties=0)
        made.everybody = lambda _: large
        worker = made.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")
        worker.configure(sync={"areas": ["patient-safety"], "concurrency": count})
        worker.constants.update({REQUEST_TIMEOUT_S: PATIENCE_S})
        assert worker.run("db", "upgrade").code == 0
        running = worker.start("sync", afresh=True)
        peak = peak_of(running, PATIENCE_S) * 1e6 / _MIB
        ended = running.wait(PATIENCE_S)
    assert ended.code == 0, ended.story()
    assert peak < ALL_MIB_MAX, f"{peak:.0f} MiB"
