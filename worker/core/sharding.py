"""Splits one run between several processes: persons by hash, and the rate limit by share."""

import re
from hashlib import blake2b
from typing import Final

from worker.core.value import Value

SHARDS_MAX: Final = 256
RUN_KEY_MAX: Final = 200

SECONDS_PER_HOUR: Final = 3600
"""Shares are integers of requests per hour, so that they add up exactly."""

# Changing this key would assign persons to other shards in the middle of a run.
_KEY: Final = b"pts-sync-worker: shard of a person"
_SHARD: Final = re.compile(r"(\d{1,4})/(\d{1,4})", re.ASCII)
_RUN_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", re.ASCII)


class Shard(Value, frozen=True, kw_only=True):
    """One of ``count`` processes that share a run.

    Attributes:
        index: number of the shard, from 0.
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
    """One shard of the run with this key, assigned to a process."""

    shard: Shard
    run_key: str


def parse_shard(text: str) -> Shard:
    """Parse a shard ``i/n``, counted from 0 or from 1: ``n/n`` is the same as ``0/n``.

    Raises:
        ValueError: it is not a valid shard.
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
    """Validate a run key for use in the ledger and in logs.

    Raises:
        ValueError: it is empty, too long, or holds invalid characters.
    """
    if not _RUN_KEY.fullmatch(text) or len(text) > RUN_KEY_MAX:
        raise ValueError(
            f"a run key is 1 to {RUN_KEY_MAX} letters, digits and any of . _ : / -, "
            "and begins with a letter or digit"
        )
    return text


def per_hour(requests_per_second: float) -> int:
    """A ceiling as an integer of requests per hour, rounded down."""
    return int(requests_per_second * SECONDS_PER_HOUR)


def next_share(*, total: int, shards: int, live: int, own: int, others: int) -> int:
    """The share of the ceiling that a shard should take, in requests per hour.

    A new shard takes ``total / shards`` once that is free, and nothing less: at a tiny rate its
    first requests would be scheduled far in the future. A shard with a share moves to
    ``total / live``: down at once, up as far as the other shards have released theirs.

    Args:
        total: the ceiling over all shards.
        live: number of shards that hold a lease, including this one.
        own: this shard's current share.
        others: sum of all other shares, including those of dead shards until they are reclaimed.
    """
    free = max(total - others, 0)
    if own:
        return min(total // live, free)
    first = total // shards
    return first if first <= free else 0
