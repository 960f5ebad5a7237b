"""One run in several processes: who reads whom, and who may ask PTS how often."""

import re
from hashlib import blake2b
from typing import Final

from worker.core.value import Value

SHARDS_MAX: Final = 256
RUN_KEY_MAX: Final = 200

SECONDS_PER_HOUR: Final = 3600
"""Shares are whole requests an hour, so that they add up exactly."""

# Another key would hand every person to another shard, in the middle of a run.
_KEY: Final = b"pts-sync-worker: shard of a person"
_SHARD: Final = re.compile(r"(\d{1,4})/(\d{1,4})", re.ASCII)
_RUN_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", re.ASCII)


class Shard(Value, frozen=True, kw_only=True):
    """One of ``count`` processes that share a run.

    Attributes:
        index: from 0.
        count: of how many.
    """

    index: int
    count: int

    def owns(self, person_key: str) -> bool:
        """Whether this shard reads the person: by a keyed hash, the same on every machine."""
        digest = blake2b(person_key.encode(), digest_size=8, key=_KEY).digest()
        return int.from_bytes(digest, "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class ShardAssignment(Value, frozen=True, kw_only=True):
    """What a process takes on: one shard of the run that has this key."""

    shard: Shard
    run_key: str


def parse_shard(text: str) -> Shard:
    """The shard that ``i/n`` means. Counting from 0 and from 1 serve alike: n/n is 0/n.

    Raises:
        ValueError: it is no shard.
    """
    match = _SHARD.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not i/n")
    index, count = int(match[1]), int(match[2])
    if not 1 <= count <= SHARDS_MAX:
        raise ValueError(f"{count} shards; there can be 1 to {SHARDS_MAX}")
    if index > count:
        raise ValueError(f"there is no shard {index} of {count}")
    return Shard(index=index % count, count=count)


def checked_run_key(text: str) -> str:
    """A run key as it may stand in the ledger and in logs.

    Raises:
        ValueError: it is empty, too long, or holds other characters than a name has.
    """
    if not _RUN_KEY.fullmatch(text) or len(text) > RUN_KEY_MAX:
        raise ValueError(
            f"a run key is 1 to {RUN_KEY_MAX} letters, digits and any of . _ : / -, "
            "and begins with a letter or digit"
        )
    return text


def per_hour(requests_per_second: float) -> int:
    """A ceiling in whole requests an hour, rounded down."""
    return int(requests_per_second * SECONDS_PER_HOUR)


def next_share(*, total: int, shards: int, live: int, own: int, others: int) -> int:
    """The share of the ceiling that a shard should hold, in requests an hour.

    A shard without a share takes the ``shards``-th part as soon as that is free, and nothing less:
    at a tiny rate its first requests would be given times far away. One that has a share goes to
    the ``live``-th part, down at once and up as far as the others have made room.

    Args:
        total: the ceiling over all.
        shards: of the run.
        live: of them, those that hold a lease, this one included.
        own: what this one holds.
        others: what all others hold together, dead ones included until it is taken from them.
    """
    free = max(total - others, 0)
    if own:
        return min(total // live, free)
    first = total // shards
    return first if first <= free else 0
