"""Who reads whom, and how the ceiling on requests is divided."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core.sharding import (
    SHARDS_MAX,
    Shard,
    checked_run_key,
    next_share,
    parse_shard,
    per_hour,
)


@pytest.mark.parametrize(
    ("text", "index", "count"),
    [
        ("0/4", 0, 4),
        ("3/4", 3, 4),
        ("4/4", 0, 4),
        ("1/1", 0, 1),
        (" 2/3 ", 2, 3),
        ("256/256", 0, 256),
    ],
)
def test_a_shard_is_counted_from_0_or_from_1(text: str, index: int, count: int):
    """Shards 0 to n-1 and shards 1 to n are the same n parts."""
    assert Shard(index=index, count=count) == parse_shard(text)


@pytest.mark.parametrize(
    "text", ["", "1", "5/4", "0/0", "-1/4", "1/257", "a/b", "1/4/2", "\u0661/4"]
)
def test_what_is_no_shard_is_refused(text: str):
    """Anything else than i of n."""
    with pytest.raises(ValueError, match=r"is not i/n|shard"):
        parse_shard(text)


@pytest.mark.parametrize("text", ["", " ", "a b", "-x", "x" * 201, "night\n", "n\u00e6rt"])
def test_what_is_no_run_key_is_refused(text: str):
    """Nothing that could not stand in a log."""
    with pytest.raises(ValueError, match="run key"):
        checked_run_key(text)


@pytest.mark.parametrize("text", ["2026-03-01", "pts-sync-shards-x7k2p", "a/b:c_d.e", "x" * 200])
def test_a_run_key_is_a_name(text: str):
    """Names of Jobs and dates serve."""
    assert text == checked_run_key(text)


@given(key=st.text(max_size=80), count=st.integers(1, SHARDS_MAX))
def test_everybody_is_read_by_one_shard(key: str, count: int):
    """By one and no other."""
    owners = [index for index in range(count) if Shard(index=index, count=count).owns(key)]
    assert len(owners) == 1


def test_parts_are_of_like_size():
    """Also where identifiers follow one another."""
    shards = [Shard(index=index, count=4) for index in range(4)]
    sizes = Counter(
        shard.index for n in range(20_000) for shard in shards if shard.owns(f"{n:011}")
    )
    assert 4_750 < min(sizes.values()) <= max(sizes.values()) < 5_250


def test_the_hash_is_the_same_for_ever():
    """Another one in a new version would move persons between shards in the middle of a run."""
    shards = [Shard(index=index, count=16) for index in range(16)]
    keys = ("a", "b", "c", "00000000000", "f" * 64)
    assert [shard.index for key in keys for shard in shards if shard.owns(key)] == [8, 8, 10, 1, 0]


def test_a_ceiling_is_rounded_down():
    """Whole requests an hour, never more than was allowed."""
    assert [per_hour(20.0), per_hour(0.1), per_hour(0.0005)] == [72_000, 360, 1]


@dataclass
class Seat:
    """A shard as the lease table has it, and what its process uses."""

    share: int = 0
    used: int = 0
    is_live: bool = True


@dataclass
class Table:
    """The leases, and what may become of each."""

    total: int
    count: int
    seats: dict[int, Seat] = field(default_factory=dict)

    def wanted(self, index: int) -> int:
        others = [seat for other, seat in self.seats.items() if other != index]
        return next_share(
            total=self.total,
            shards=self.count,
            live=sum(seat.is_live for seat in others) + 1,
            own=self.seats[index].share,
            others=sum(seat.share for seat in others),
        )

    def join(self, index: int) -> None:
        if index not in self.seats or not self.seats[index].is_live:
            self.seats[index] = Seat()

    def look(self, index: int) -> None:
        """Go down at once; up only under the lock."""
        seat, share = self.seats[index], self.wanted(index)
        if seat.is_live and share < seat.share:
            seat.share = seat.used = share

    def grow(self, index: int) -> None:
        seat = self.seats[index]
        if seat.is_live:
            seat.share = seat.used = max(self.wanted(index), seat.share)

    def sleep(self, index: int) -> None:
        self.seats[index].is_live, self.seats[index].used = False, 0

    def wake(self, index: int) -> None:
        seat = self.seats[index]
        seat.is_live, seat.used = True, seat.share

    def take(self, index: int) -> None:
        """Another takes the share of one that gives no sign of life."""
        if not self.seats[index].is_live:
            self.seats[index].share = 0

    def end(self, index: int) -> None:
        del self.seats[index]


DEEDS = (Table.join, Table.look, Table.grow, Table.sleep, Table.wake, Table.take, Table.end)
STEPS = st.lists(
    st.tuples(st.sampled_from(DEEDS), st.integers(0, 2)),
    min_size=20,
    max_size=60,
)


@pytest.mark.promise("7")
@settings(max_examples=400)
@given(total=st.integers(1, 200) | st.integers(1, 10**8), count=st.integers(1, 3), steps=STEPS)
def test_shares_never_exceed_the_ceiling(total: int, count: int, steps):
    """Shards join, sleep, wake, die and end, and check in any order."""
    table = Table(total=total, count=count)
    together = [(step, index) for index in range(count) for step in (Table.join, Table.grow)]
    for step, number in (*together, *steps):
        index = number % count
        if step is Table.join or index in table.seats:
            step(table, index)
        assert 0 <= sum(seat.share for seat in table.seats.values()) <= total
        assert all(seat.used <= seat.share for seat in table.seats.values())


@given(total=st.integers(8, 10**8), count=st.integers(1, 8), live=st.integers(1, 8))
def test_all_who_live_come_to_an_equal_share(total: int, count: int, live: int):
    """Three rounds of looking are enough, also where one had it all; nobody is left out."""
    live = min(live, count)
    shares = [total, *([0] * (live - 1))]
    for index in 3 * list(range(live)):
        shares[index] = next_share(
            total=total,
            shards=count,
            live=live,
            own=shares[index],
            others=sum(shares) - shares[index],
        )
    assert shares == [total // live] * live


@pytest.mark.parametrize(
    ("live", "own", "others", "expected"),
    [
        (1, 0, 0, 3),  # a third of ten, though nobody else is there yet
        (2, 0, 7, 3),
        (2, 0, 8, 0),  # two are free: not worth a start
        (3, 0, 10, 0),
        (2, 3, 3, 5),
        (2, 3, 6, 4),  # half would be five, four are free
        (2, 3, 10, 0),
        (2, 3, 11, 0),  # more than all are out: never below nothing
        (3, 9, 0, 3),
    ],
)
def test_a_share_of_ten_among_three(live: int, own: int, others: int, expected: int):
    """The first share is a whole part or nothing; later ones go as far as there is room."""
    share = next_share(total=10, shards=3, live=live, own=own, others=others)
    assert (expected, int) == (share, type(share))
