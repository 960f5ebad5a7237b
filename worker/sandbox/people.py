"""Synthetic persons: maps an index to an identifier and back, without a table."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MONTH_SHIFTS: Final = (80, 65)
"""Month +80: Skatteetaten's Test-Norge. Month +65: reserved by NHN (PTS reference, section 9)."""

_DAYS: Final = 28
_MONTHS: Final = 12
_YEARS: Final = 100
_BLOCKS: Final = 100
CAPACITY: Final = _DAYS * _MONTHS * len(MONTH_SHIFTS) * _YEARS * _BLOCKS
"""The maximum number of persons per seed."""

_MOVE_EVERY: Final = 40
_MOVE_GENERATIONS: Final = 6
_FIRST_WEIGHTS: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2)
_SECOND_WEIGHTS: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)


def is_synthetic(off_id: str) -> bool:
    """Whether the month is shifted by 80 or 65, which no real person's identifier has."""
    month = int(off_id[2:4])
    return any(1 <= month - shift <= _MONTHS for shift in MONTH_SHIFTS)


def control_digits(nine: str) -> str | None:
    """The two control digits for the first nine, or None if the number is not issued (F1)."""
    digits = [int(digit) for digit in nine]
    for weights in (_FIRST_WEIGHTS, _SECOND_WEIGHTS):
        control = -sum(map(int.__mul__, weights, digits)) % 11
        if control > 9:  # noqa: PLR2004 - it must be a digit
            return None
        digits.append(control)
    return f"{digits[9]}{digits[10]}"


def _number(position: int, *, d_number: bool) -> str:
    rest, day = divmod(position, _DAYS)
    rest, month = divmod(rest, _MONTHS)
    rest, shift = divmod(rest, len(MONTH_SHIFTS))
    block, year = divmod(rest, _YEARS)
    day += 41 if d_number else 1
    head = f"{day:02d}{month + 1 + MONTH_SHIFTS[shift]:02d}{year:02d}{block:02d}"
    # At most one digit gives an invalid first control digit and one an invalid second.
    for step in range(10):
        nine = f"{head}{(position + step) % 10}"
        control = control_digits(nine)
        if control is not None:
            return nine + control
    raise AssertionError("no valid control digits")


def _position(off_id: str) -> tuple[int, bool] | None:
    day, month = int(off_id[:2]), int(off_id[2:4])
    year, block = int(off_id[4:6]), int(off_id[6:8])
    d_number = day > 40  # noqa: PLR2004 - a D-number's day is shifted by 40
    day -= 41 if d_number else 1
    for number, shift in enumerate(MONTH_SHIFTS):
        if 0 <= day < _DAYS and 1 <= month - shift <= _MONTHS:
            rest = (block * _YEARS + year) * len(MONTH_SHIFTS) + number
            position = (rest * _MONTHS + month - shift - 1) * _DAYS + day
            is_exact = _number(position, d_number=d_number) == off_id
            return (position, d_number) if is_exact else None
    return None


@dataclass(frozen=True, slots=True)
class Population:
    """The persons of one seed, by their line ``index`` of the roster, 0 <= index < ``count``.

    A few have two lines: a D-number that is replaced by a foedselsnummer in some generation. The
    restrictions keep their ids then, and the other line has none.
    """

    seed: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= CAPACITY:
            message = f"persons must be between 0 and {CAPACITY}, not {self.count}"
            raise ValueError(message)

    def off_id(self, index: int) -> str:
        """The identifier on line ``index`` of the roster."""
        pair, second = divmod(index, 2)
        if not self._moves(pair):
            return _number(self._position_of(index), d_number=False)
        return _number(self._position_of(pair * 2), d_number=bool(second) == self._swapped(pair))

    def index(self, off_id: str) -> int | None:
        """The line with this identifier; None if it is not on the roster."""
        decoded = _position(off_id)
        if decoded is None:
            return None
        position, d_number = decoded
        multiplier, offset = _mixing(self.seed)
        index = (position - offset) * pow(multiplier, -1, CAPACITY) % CAPACITY
        pair, second = divmod(index, 2)
        if self._moves(pair):
            if second:
                return None
            return pair * 2 + (d_number == self._swapped(pair))
        return index if index < self.count and not d_number else None

    def owner(self, index: int, generation: int) -> int | None:
        """The owner of this line's restrictions, as a number that survives a move; None if none."""
        pair, second = divmod(index, 2)
        if not self._moves(pair):
            return index
        is_d_number = bool(second) == self._swapped(pair)
        moved = generation >= self._move_generation(pair)
        return pair * 2 if is_d_number != moved else None

    def is_mover(self, index: int) -> bool:
        """Whether the line belongs to a person who moves to another identifier."""
        return self._moves(index // 2)

    def _position_of(self, index: int) -> int:
        multiplier, offset = _mixing(self.seed)
        return (index * multiplier + offset) % CAPACITY

    def _moves(self, pair: int) -> bool:
        return pair % _MOVE_EVERY == self.seed % 3 and pair * 2 + 1 < self.count

    def _move_generation(self, pair: int) -> int:
        return 1 + (pair // _MOVE_EVERY) % _MOVE_GENERATIONS

    def _swapped(self, pair: int) -> bool:
        """Whether the foedselsnummer comes first on the roster: true for every second move."""
        return bool(pair // _MOVE_EVERY % 2)


@lru_cache(maxsize=64)
def _mixing(seed: int) -> tuple[int, int]:
    """Multiplier (coprime to the capacity) and offset of the seed's permutation of positions."""
    digest = hashlib.blake2b(f"people {seed}".encode(), digest_size=16).digest()
    multiplier = int.from_bytes(digest[:8], "big") % CAPACITY
    while math.gcd(multiplier, CAPACITY) != 1:
        multiplier += 1
    return multiplier, int.from_bytes(digest[8:], "big") % CAPACITY


def roster(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Stream the roster of a seed as (off_id, local_ref)."""
    people = Population(seed, count)
    for index in range(count):
        yield people.off_id(index), f"L{index:07d}"


CLINICS: Final = (
    "Barneklinikken",
    "Hjerteklinikken",
    "Kirurgisk klinikk",
    "Kvinneklinikken",
    "Medisinsk klinikk",
    "Psykisk helse",
)
"""Made-up cohorts."""


def clinic(index: int) -> str:
    """The cohort of a line of the roster: of unequal sizes, and the same for both of a move."""
    return CLINICS[min(index // 2 * 7 % 13 // 2, len(CLINICS) - 1)]
