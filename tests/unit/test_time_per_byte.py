"""Whatever PTS or HelseID sends, or a document holds, is read in time in proportion to its length.

Each parser of foreign text is fed with 32 KiB, the most that headers may hold together, of one
piece again and again.
"""

import contextlib
import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from tests.support.pts_answers import CONTRACT, OFF_ID, SAFETY
from worker.cli.openapi import OpenApi
from worker.core.answer import parse, read_answer
from worker.core.display import csv_text, visible, xml_text
from worker.core.identity import normalise_off_id
from worker.core.paging import next_links
from worker.core.paths import parse_path, safe_path
from worker.core.record import converter
from worker.core.retry import parse_http_date, parse_retry_after
from worker.core.times import parse_time
from worker.errors import RefusedError, TransientError, WorkerError
from worker.helseid.authorizer import challenge_error
from worker.helseid.dpop import ProofKey
from worker.helseid.refusals import granted_token
from worker.http.response import HEADER_BYTES_MAX, ResponseReader
from worker.masking import masked

pytestmark = pytest.mark.promise("10")

QUICK_S = 0.05
RATIO_MAX = 24
"""For eight times as much: eight, if time grows with it, and 64, if it grows with its square."""
NOW = datetime(2026, 11, 26, tzinfo=UTC)
PROOFS = ProofKey()
UNITS = (
    " ", "9", "<", ">", "<>", "<>;", "rel", "rel=", '"', '\\"', "<a>;a=", '<a>;a="', "<a>; rel=",
    '<a>;a="\\"', "next ", "<a>;a;", "\t<", " ;", "%", "&", "&#", "=", "\\u003", "1 ", "A", "31",
    "2026-01-02 ", "%25", "&amp;", 'a="', "eyJ", "- ", "[", "{a: ",
    "? ", "&a ", "*a, ", "#\n", "\n ",
)  # fmt: skip


def processor_s(call: Callable[[], object]) -> float:
    """Seconds of this thread that the call takes; the collector waits meanwhile.

    A full collection in a process that has run thousands of tests takes 0.2 s by itself.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began_s = time.thread_time()
        call()
        return time.thread_time() - began_s
    finally:
        if was_enabled:
            gc.enable()


def grows_too_fast(call: Callable[[int], object], size: int) -> bool:
    """Whether the call takes more than proportionally longer for this size than for an eighth.

    What is done in an instant is never too slow, and of three tries the best one counts: so no
    other load of the machine decides.
    """
    for _ in range(3):
        whole_s = processor_s(lambda: call(size))
        if whole_s < QUICK_S:
            return False
        if whole_s < RATIO_MAX * processor_s(lambda: call(size // 8)):
            return False
    return True


def _helseid(text: str) -> None:
    PROOFS.keep_nonce("https://pts.example", text)
    for body in text, '{"error":"' + text, f'{{"expires_in":"{"9" * len(text)}"}}':
        response = httpx.Response(400, content=body.encode(errors="replace"))
        with contextlib.suppress(TransientError, RefusedError):
            granted_token(response)


def _answer(text: str) -> None:
    headers = {"content-type": (text,), "x-total-count": (text,)}
    body = b'[{"x":"' + text.encode(errors="replace")
    read_answer(200, headers, body, CONTRACT[SAFETY.name], OFF_ID)


def _date(text: str) -> None:
    for one in text, f"Wed, {text}", f"{'9' * len(text)}":
        parse_http_date(one)
        parse_retry_after(one, NOW)


def _columns(text: str) -> None:
    for column in SAFETY.columns:
        converter(column.type, "UTC")(text)


READERS: dict[str, Callable[[str], object]] = {
    "links": lambda text: [*next_links([f"<a>{text}"])],
    "paths": lambda text: (safe_path(text), parse_path(text)),
    "challenges": lambda text: challenge_error([text, f'error_description="{text}']),
    "dates and Retry-After": _date,
    "times of records": parse_time,
    "columns": _columns,
    "answers of PTS and their types": _answer,
    "JSON": lambda text: parse(text.encode(errors="replace")),
    "errors of HelseID": _helseid,
    "lines of a roster": normalise_off_id,
    "log lines and identifiers": masked,
    "OpenAPI documents": lambda text: OpenApi(b"a: [" + text.encode(errors="replace")),
    "escaping": lambda text: (visible(text), xml_text(text), csv_text(text)),
}


def _is_slow(name: str, unit: str) -> bool:
    """Whether a text that holds this again and again is read slowly."""

    def read(size: int) -> None:
        with contextlib.suppress(WorkerError, ValueError):
            READERS[name]((unit * size)[:size])

    return grows_too_fast(read, HEADER_BYTES_MAX)


@pytest.mark.parametrize("name", READERS)
def test_a_header_of_one_unit_takes_no_time(name: str):
    """For what once was slow, or could have been; it ends in a value or an error with a name."""
    assert [unit for unit in UNITS if _is_slow(name, unit)] == []


@pytest.mark.parametrize(
    ("head", "line", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"X-A: b\r\n", b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A:\r\n", b"\r\n"),
    ],
    ids=["headers", "trailers"],
)
def test_a_response_that_comes_in_drips(head: bytes, line: bytes, end: bytes):
    """The same bytes, however few arrive at once."""

    def feed(size: int) -> None:
        reader = ResponseReader(1_000)
        data = head + line * ((size - len(head) - len(end)) // len(line)) + end
        for at in range(len(data)):
            reader.feed(data[at : at + 1])
        assert reader.has_head

    assert not grows_too_fast(feed, HEADER_BYTES_MAX)
