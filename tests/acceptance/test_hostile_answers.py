"""A PTS that means harm: memory, the ledger of drift, and how soon a stop ends the run."""

import signal
from functools import partial
from pathlib import Path

import pytest

from tests.support.made_databases import MakeDatabase
from tests.support.program import REQUEST_TIMEOUT_S, Installation, wait_for
from tests.support.raw_server import Reply
from tests.support.secrecy.hostile_answers import (
    SIZE,
    always,
    bodies,
    declared,
    in_tiny_chunks,
    reasons,
    run_over,
)
from tests.support.standin import Standin, person, standin
from worker.core.budgets import DRIFT_MAX, RECORDS_MAX

pytestmark = [pytest.mark.promise("10"), pytest.mark.nightly]

MIB_MAX = 64
STOP_S_MAX = 45.0
TINY_BYTES = 1024 * 1024

FILLED = ("objects", "one text", "a record", "records", "tiny chunks")

REFUSED = {
    "objects": "a response of more than 200000 values (at $)",
    "one text": "not an object (at [0])",
}


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


def _drip(start: bytes, unit: bytes) -> Reply:
    """A unit every 50 ms, for a minute."""
    cuts = tuple(range(len(start), len(start) + 1200 * len(unit), len(unit)))
    return Reply(data=start + unit * 1200, cuts=cuts, pause_s=0.05, then="hang")


OK = b"HTTP/1.1 200 OK\r\n"
HOSTILE = {
    "slow bytes": _drip(OK + b"Content-Length: 5000\r\n\r\n[", b" "),
    "endless headers": _drip(OK, b"X-A: b\r\n"),
    "a body without an end": _drip(
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n", b"400\r\n" + b" " * 1024 + b"\r\n"
    ),
    "silence": Reply(data=OK, then="hang"),
}


def _is_asked(made: Standin) -> bool:
    return len(made.asked) >= 4


def test_a_stop_under_a_hostile_pts(tmp_path: Path, make_sqlite: MakeDatabase) -> None:
    """SIGTERM ends the run with 75 within 10 s, in the middle of answers of every hostile kind.

    On a busy machine it may take longer; an answer would take two minutes.
    """
    kinds = HOSTILE | {"huge JSON": declared(bodies()["records"].ljust(SIZE))}
    for name, reply in kinds.items():
        with standin() as made:
            for number in range(40):
                person(made, number, safeties=1)
            made.everybody = always(reply)
            worker = made.install(tmp_path / name.replace(" ", "-"), make_sqlite())
            worker.configure(sync={"concurrency": 4})
            worker.constants[REQUEST_TIMEOUT_S] = 120.0
            process = worker.start("sync")
            wait_for(partial(_is_asked, made), f"searches, {name}")
            process.signal(signal.SIGTERM)
            ended = process.wait(STOP_S_MAX)
            assert ended.code == 75, f"{name}: {ended.story()}"
