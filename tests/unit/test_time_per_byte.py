"""Whatever PTS or HelseID sends, reading it takes time in proportion to its length.

Each parser of foreign text is fed with 32 KiB, the most that headers may hold together, made of
pieces that Hypothesis repeats and mixes; a quadratic parser takes seconds for that.
"""

import contextlib
import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pts_answers import SAFETY, person
from worker.core.answer import parse, read_page
from worker.core.columns import TYPE_READERS
from worker.core.escaping import csv_text, visible, xml_text
from worker.core.links import claims_next, next_links
from worker.core.offid import normalise
from worker.core.recogniser import Recogniser
from worker.core.retry import parse_http_date, parse_retry_after
from worker.core.times import parse_time
from worker.errors import WorkerError
from worker.helseid.challenges import parse_challenges
from worker.helseid.refusals import clean, error_code
from worker.helseid.token_response import nonce_from, token_document
from worker.helseid.transport import HelseIdResponse, NoAnswerError
from worker.logs import redact
from worker.pts.response_parser import HEADER_BYTES_MAX, ResponseParser

pytestmark = pytest.mark.promise("10")

SECONDS_MAX = 0.2
NOW = datetime(2026, 11, 26, tzinfo=UTC)
PIECES = st.text(alphabet="<>;=,\"'\\ \t%&#[]{}():+-./_*09aAeEnrtxzZ\u00e6\ufffe", min_size=1) | (
    st.sampled_from(
        ["rel=next", 'DPoP error="', "Wed, 21 Oct 2026 07:28:00 GMT", "2026-01-01T00:00:00", "1e9",
         "&#48;", "%30", "\\u0030", "eyJ", "MTYwNTgzOTk2NDk=", '{"error":', '"a":[', "application/",
         "16058399649", "aaaaaaaa.", "\ud7ff", "999999999999"]
    )
)  # fmt: skip
UNITS = (
    " ", "9", "<", ">", "<>", ";", "<>;", "rel", "rel=", "rel =", '"', '\\"', ",", "<a>;a=",
    '<a>;a="', "<a>; rel=", '<a>;a="\\"', "next ", "rel=next_", "<a>;a;", "\t<", " ;", "%", "&",
    "&#", "=", "\\u003", "1 ", "A", "31", "-", "2026-01-02 ", "<a", "%25", "&amp;", 'a="', "eyJ",
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


def _text(pieces: list[str]) -> str:
    """32 KiB: the pieces, the last of them again and again."""
    return ("".join(pieces[:-1]) + pieces[-1] * HEADER_BYTES_MAX)[:HEADER_BYTES_MAX]


def _helseid(text: str) -> None:
    for body in text, '{"error":"' + text, f'{{"expires_in":"{"9" * len(text)}"}}':
        response = HelseIdResponse(
            status=400,
            headers={"dpop-nonce": (text,)},
            body=body.encode(errors="replace"),
            clock_ahead_s=None,
        )
        nonce_from(response)
        with contextlib.suppress(NoAnswerError):
            token_document(response)


def _answer(text: str) -> None:
    headers = {"content-type": (text,), "link": (text,), "x-pagination": (text,)}
    read_page(
        200, headers, b'[{"x":"' + text.encode(errors="replace"), area=SAFETY, person=person()
    )


def _date(text: str) -> None:
    for one in text, f"Wed, {text}", f"{'9' * len(text)}":
        parse_http_date(one)
        parse_retry_after(one, NOW)


def _columns(text: str) -> None:
    for column in SAFETY.columns:
        TYPE_READERS[column.type](text, column, "a", set())


READERS: dict[str, Callable[[str], object]] = {
    "links": lambda text: (next_links([text, f"<a>{text}"]), claims_next([text, f"rel{text}"])),
    "challenges": lambda text: parse_challenges([text]),
    "dates and Retry-After": _date,
    "times of records": parse_time,
    "columns": _columns,
    "answers of PTS and their types": _answer,
    "JSON": lambda text: parse(text.encode(errors="replace")),
    "errors of HelseID": _helseid,
    "texts of refusals": lambda text: (clean(text), error_code(text)),
    "lines of a roster": normalise,
    "log lines": redact,
    "identifiers": Recogniser(str, own="16058399649").text,
    "escaping": lambda text: (visible(text), xml_text(text), csv_text(text)),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=6))
def test_the_worst_header_takes_no_time(name: str, pieces: list[str]):
    """32 KiB take less than 0.2 s of processor time, and end in a value or an error with a name."""
    assert _took_s(name, pieces) < SECONDS_MAX


@pytest.mark.promise("8")
@pytest.mark.parametrize("name", READERS)
def test_a_header_of_one_unit_takes_no_time(name: str):
    """The same for what once was slow, or could have been."""
    slow = [unit for unit in UNITS if _took_s(name, [unit]) > SECONDS_MAX]
    assert slow == []


def _took_s(name: str, pieces: list[str]) -> float:
    text = _text(pieces)

    def read() -> None:
        with contextlib.suppress(WorkerError, ValueError):
            READERS[name](text)

    return processor_s(read)


@pytest.mark.parametrize("step", [1, 7, 1460])
@pytest.mark.parametrize("line", [b"A:\r\n", b"X-A: b\r\n", b"X: " + b"x" * 1000 + b"\r\n"])
def test_headers_that_come_in_drips(step: int, line: bytes):
    """The same bytes, however few arrive at once."""
    head = b"HTTP/1.1 200 OK\r\n"
    data = head + line * ((HEADER_BYTES_MAX - len(head) - 4) // len(line)) + b"\r\n"
    parser = ResponseParser(1_000)

    def feed() -> None:
        for at in range(0, len(data), step):
            parser.feed(data[at : at + step])

    took_s = processor_s(feed)
    assert parser.has_status
    assert took_s < SECONDS_MAX


@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize(
    "ending", [b"1;%b\r\n \r\n0\r\n\r\n", b"0\r\nX: %b\r\n\r\n", b"0\r\n%b\r\n"]
)
def test_chunks_that_come_in_drips(step: int, ending: bytes):
    """So it is with extensions of chunks, and with trailers."""
    fill = b"A:\r\n" * 8_000 if ending.endswith(b"%b\r\n") else b"x" * 32_000
    parser = ResponseParser(1_000)
    assert parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") is None
    data = ending % fill
    responses: list[object] = []

    def feed() -> None:
        responses.extend(parser.feed(data[at : at + step]) for at in range(0, len(data), step))

    took_s = processor_s(feed)
    assert responses[-1] is not None
    assert took_s < SECONDS_MAX
