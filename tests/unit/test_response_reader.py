"""Parsing of responses, wherever the bytes are divided."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.http.response_cases import ALL
from worker.errors import ContractError, TransientError, WorkerError
from worker.http.response import HEADER_BYTES_MAX, ResponseReader

BODY_BYTES_MAX = 1000
CASES = sorted(ALL)


def parse(*parts):
    """What a reader makes of these bytes: a response, nothing yet, or the class of its error."""
    reader = ResponseReader(BODY_BYTES_MAX)
    try:
        for number, part in enumerate(parts):
            if reader.feed(part):
                if any(parts[number + 1 :]):
                    return None
                response = reader.take()
                return response.status, response.headers, bytes(response.body)
    except WorkerError as error:
        return type(error)
    return None


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
    """So it is byte by byte."""
    data = ALL[name].data
    together, apart = parse(data), parse(*(data[at : at + 1] for at in range(len(data))))
    if isinstance(together, tuple):
        assert together == apart
    else:
        assert not isinstance(apart, tuple)


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_on_headers_is_exact(more):
    """Header bytes are counted to the byte."""
    start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: ", b"\r\n\r\n"
    size = HEADER_BYTES_MAX - len(start) - len(end) + more
    got = parse(start + b"x" * size + end + b"[1]")
    assert got is ContractError if more else isinstance(got, tuple)


@pytest.mark.parametrize(
    ("head", "may_reuse"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive, CLOSE\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n", True),
    ],
)
def test_reuse(head, may_reuse):
    """A connection is kept unless the response speaks against it."""
    reader = ResponseReader(BODY_BYTES_MAX)
    assert reader.feed(head + b"\r\n")
    assert reader.may_reuse == may_reuse
