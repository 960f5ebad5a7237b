"""How far the store agrees with PTS: a fair sample, the differences, and how sure we may be."""

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
    """The area could not be read from PTS, so nothing is known of it."""
    NOT_IN_STORE = "not_in_store"
    """The roster names a person of whom this area was never published, or who had left."""


def compare(
    published: Mapping[str, bytes] | None, read: Mapping[str, bytes]
) -> Counter[Difference]:
    """The differences of one area of one person; none if the two agree.

    Args:
        published: content hashes by record key as readers see them; None if there is no state.
        read: the same as PTS answered to the last page.
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
    """A share with the bounds between which the true share lies, 95 times in 100."""

    share: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval | None:
    """The score interval of a binomial share (E. B. Wilson, JASA 22, 1927, page 209).

    Unlike the normal approximation it stays honest at 0 and at 100 %: 200 of 200 that agree leave
    room for 1.9 % that do not.

    Returns:
        None if nothing was tried.

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
    # At the ends the bound is exact; the root leaves it a hair beside.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Interval(share=share, low=low, high=high)


class Sample(Generic[T]):
    """A uniform sample of a stream of unknown length, in memory for ``size`` items.

    Each distinct name gets a pseudo-random tag under the seed, and the smallest tags stay (bottom-k
    sampling: E. Cohen, H. Kaplan, PODC 2007). So a name that the stream brings twice is neither
    likelier to be chosen nor chosen twice.

    Args:
        size: how many to choose, at most.
        seed: another seed chooses another sample.
    """

    def __init__(self, size: int, seed: str) -> None:
        self._size = size
        self._seed = blake2b(seed.encode(), digest_size=32).digest()
        self._heap: list[int] = []  # negated: the largest tag is to go first
        self._items: dict[int, T] = {}

    def offer(self, name: str, item: T) -> None:
        """Let the item of that name take part."""
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
        """The sample, in an order that has nothing to do with the stream's."""
        return tuple(item for _, item in sorted(self._items.items(), key=lambda pair: pair[0]))
