"""Parsing of responses, wherever the bytes are divided."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.http.response_cases import ALL
from worker.errors import ContractError, TransientError, WorkerError
from worker.pts.response_parser import HEADER_BYTES_MAX, ResponseParser

BODY_BYTES_MAX = 1000
CASES = sorted(ALL)


def parse(*parts, closes=False):
    """What a parser makes of these bytes: a response, nothing yet, or the class of its error."""
    parser = ResponseParser(BODY_BYTES_MAX)
    try:
        for number, part in enumerate(parts):
            response = parser.feed(part)
            if response is not None:
                is_last = not any(parts[number + 1 :])
                return (response.status, dict(response.headers), response.body) if is_last else None
        response = parser.feed_eof() if closes else None
    except WorkerError as error:
        return type(error)
    return response and (response.status, dict(response.headers), response.body)


def divided(data, points):
    points = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[start:end] for start, end in pairwise(points)]


@given(st.sampled_from(CASES), st.lists(st.integers(0, 9999), max_size=6))
@example("chunks: trailers", list(range(200)))
def test_division_changes_nothing(name, points):
    """A response is the same however it is divided; what is refused is refused or never ends."""
    data = ALL[name].data
    together, apart = parse(data), parse(*divided(data, points))
    # Surplus that comes later is not the parser's business any more; damage shows at some time.
    if isinstance(together, tuple):
        assert together == apart
    else:
        assert apart is None or apart in {ContractError, TransientError}


@pytest.mark.promise("1")
@pytest.mark.parametrize("name", CASES)
def test_division_at_every_byte(name):
    """So it is byte by byte, with the end of the connection where the case has one."""
    case = ALL[name]
    together = parse(case.data, closes=case.closes)
    apart = parse(*(case.data[at : at + 1] for at in range(len(case.data))), closes=case.closes)
    if isinstance(together, tuple):
        assert together == apart
    else:
        assert not isinstance(apart, tuple)


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_on_headers_is_exact(more):
    """Header bytes are counted to the byte, together with those of trailers."""
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: "
    end, trailer = b"\r\n\r\n0\r\n", b"X-B: c\r\n\r\n"
    size = HEADER_BYTES_MAX - len(start) - 4 - len(trailer) + more
    got = parse(start + b"x" * size + end + trailer)
    assert got is ContractError if more else isinstance(got, tuple)


@pytest.mark.parametrize(
    ("head", "may_reuse"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive, CLOSE\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n", False),
    ],
)
def test_reuse(head, may_reuse):
    """A connection is kept after a response that leaves no doubt where the next one begins."""
    parser = ResponseParser(BODY_BYTES_MAX)
    assert parser.feed(head + b"\r\n") is not None
    assert parser.may_reuse == may_reuse
