"""Compares the store with PTS: a uniform sample, the differences, and a confidence interval."""

import enum
import heapq
import math
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, Generic, TypeVar

from worker.core.value import Value

T = TypeVar("T")

_Z_95: Final = 1.959963984540054
"""The quantile of the normal distribution that leaves 2.5 % on either side."""
_TAG_BYTES: Final = 16


class Difference(enum.StrEnum):
    """How one area of one person differs from what was published."""

    MISSING_HERE = "missing_here"
    """A restriction that PTS has and the store does not show."""
    GONE_THERE = "gone_there"
    """A restriction that the store shows and PTS no longer has."""
    CHANGED = "changed"
    """A restriction with another content."""
    UNREAD = "unread"
    """The area could not be read from PTS."""
    NOT_IN_STORE = "not_in_store"
    """The area of a person on the roster was never published, or the person had departed."""


def compare(
    published: Mapping[str, bytes] | None, read: Mapping[str, bytes]
) -> Counter[Difference]:
    """Count the differences in one area of one person.

    Args:
        published: published content hashes by record key; None if nothing is published.
        read: content hashes by record key of the complete read from PTS.
    """
    if published is None:
        return Counter({Difference.NOT_IN_STORE: 1})
    counts = {
        Difference.MISSING_HERE: len(read.keys() - published.keys()),
        Difference.GONE_THERE: len(published.keys() - read.keys()),
        Difference.CHANGED: sum(
            read[key] != published[key] for key in read.keys() & published.keys()
        ),
    }
    return Counter({kind: count for kind, count in counts.items() if count})


class Interval(Value, frozen=True, kw_only=True):
    """A share with its 95 % confidence interval."""

    share: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval | None:
    """The score interval of a binomial share (E. B. Wilson, JASA 22, 1927, page 209).

    Unlike the normal approximation it is correct near 0 and 100 %: with 200 of 200 in agreement,
    up to 1.9 % may still differ.

    Returns:
        None if there are no trials.

    Raises:
        ValueError: the counts contradict each other.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return None
    share, z2 = successes / trials, _Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (
        _Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    )
    # At the ends the bound is exact; the square root would leave a rounding error.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Interval(share=share, low=low, high=high)


class Sample(Generic[T]):
    """A uniform sample of a stream of unknown length, using memory for ``size`` items.

    Each distinct name gets a pseudo-random tag, and the items with the smallest tags are kept
    (bottom-k sampling: E. Cohen, H. Kaplan, PODC 2007). Duplicate names count once.
    """

    def __init__(self, size: int, seed: str) -> None:
        self._size = size
        self._seed = blake2b(seed.encode(), digest_size=32).digest()
        self._heap: list[int] = []  # negated: the largest tag is to go first
        self._items: dict[int, T] = {}

    def offer(self, name: str, item: T) -> None:
        """Add an item."""
        digest = blake2b(name.encode(), digest_size=_TAG_BYTES, key=self._seed).digest()
        tag = int.from_bytes(digest)
        if tag in self._items:
            return
        if len(self._items) < self._size:
            heapq.heappush(self._heap, -tag)
        elif self._heap and tag < -self._heap[0]:
            del self._items[-heapq.heapreplace(self._heap, -tag)]
        else:
            return
        self._items[tag] = item

    def chosen(self) -> tuple[T, ...]:
        """The sample, in an order that does not depend on the stream's."""
        return tuple(item for _, item in sorted(self._items.items(), key=lambda pair: pair[0]))
