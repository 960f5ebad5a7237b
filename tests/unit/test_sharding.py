"""Who reads whom, and how the ceiling on requests is divided."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.sharding import SHARDS_MAX, Shard, checked_run_key, next_share, parse_shard


@pytest.mark.parametrize(
    ("text", "index", "count"), [("0/4", 0, 4), ("3/4", 3, 4), ("4/4", 0, 4), (" 2/3 ", 2, 3)]
)
def test_a_shard_is_counted_from_0_or_from_1(text: str, index: int, count: int):
    """Shards 0 to n-1 and shards 1 to n are the same n parts."""
    assert parse_shard(text) == Shard(index=index, count=count)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        *((parse_shard, text) for text in ("", "1", "5/4", "0/0", "-1/4", "1/257", "a/b")),
        *((checked_run_key, text) for text in ("", "a b", "-x", "x" * 201, "night\n")),
    ],
)
def test_what_is_no_shard_and_no_run_key_is_refused(check, text: str):
    """Anything else than i of n, and what could not stand in a log."""
    with pytest.raises(ValueError, match=r"is not i/n|shard|run key"):
        check(text)


@given(key=st.text(max_size=80), count=st.integers(1, SHARDS_MAX))
def test_everybody_is_read_by_one_shard(key: str, count: int):
    """By one and no other."""
    owners = [index for index in range(count) if Shard(index=index, count=count).owns(key)]
    assert len(owners) == 1


def test_the_hash_is_even_and_the_same_for_ever():
    """Another one in a new version would move persons between shards in the middle of a run."""
    shards = [Shard(index=index, count=16) for index in range(16)]
    keys = ("a", "b", "c", "00000000000", "f" * 64)
    assert [shard.index for key in keys for shard in shards if shard.owns(key)] == [8, 8, 10, 1, 0]
    sizes = Counter(one.index for n in range(2_000) for one in shards if one.owns(f"{n:011}"))
    assert 80 < min(sizes.values()) <= max(sizes.values()) < 170


@pytest.mark.promise("7")
@given(
    total=st.integers(1, 200) | st.integers(1, 10**8),
    count=st.integers(1, 8),
    turns=st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=30),
)
def test_shares_never_exceed_the_ceiling(total: int, count: int, turns):
    """Shards look for their share and end in any order; all who stay come to an equal one."""
    shares = dict.fromkeys(range(count), 0)

    def look(index: int) -> None:
        others = sum(shares.values()) - shares[index]
        shares[index] = next_share(
            total=total, shards=count, live=len(shares), own=shares[index], others=others
        )

    for number, ends in turns:
        index = number % count
        if ends and len(shares) > 1:
            shares.pop(index, None)
        else:
            shares.setdefault(index, 0)
            look(index)
        assert 0 <= sum(shares.values()) <= total
    for index in 3 * list(shares):
        look(index)
    if total >= count:
        assert list(shares.values()) == [total // len(shares)] * len(shares)
