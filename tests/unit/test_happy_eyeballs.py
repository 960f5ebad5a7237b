"""The order in which a host's addresses are tried."""

from socket import AF_INET, AF_INET6

import pytest

from worker.pts.happy_eyeballs import interleaved

A, B, C = ((AF_INET6, number) for number in range(3))
X, Y, Z = ((AF_INET, number) for number in range(3))


@pytest.mark.parametrize(
    ("found", "tried"),
    [
        ([], []),
        ([A], [A]),
        ([X, Y, Z], [X, Y, Z]),
        ([A, B, C, X], [A, X, B, C]),
        ([A, B, X, Y], [A, X, B, Y]),
        ([X, A, B, Y, Z], [X, A, Y, B, Z]),
    ],
)
def test_families_alternate(found, tried):
    """The resolver's order holds within a family, and decides which family is first."""
    assert tried == interleaved(found)
