"""Parsing of responses, wherever the bytes are divided."""

import pytest

from tests.support.http.response_cases import ALL
from worker.errors import WorkerError
from worker.http.response import ResponseReader

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
