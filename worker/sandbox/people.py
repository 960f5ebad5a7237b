"""Synthetic persons, and their restrictions in each generation of the world.

A pure function of the seed. Restrictions are values by column. The contract decides their place in
an answer. The codes are from code system 9603 and PTS's documentation (PTS reference, section 3).
"""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

Document: TypeAlias = dict[str, Any]

SAFETY: Final = "patient-safety"
PRIVACY: Final = "patient-privacy"

_SHIFTS: Final = (80, 65)
"""Month +80: Skatteetaten's Test-Norge. Month +65: reserved by NHN (PTS reference, section 9)."""
_MONTHS: Final = 12
_FIRST_WEIGHTS: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2)
_SECOND_WEIGHTS: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)

_CLINICS: Final = (
    "Barneklinikken", "Hjerteklinikken", "Kirurgisk klinikk", "Kvinneklinikken",
    "Medisinsk klinikk", "Psykisk helse",
)  # fmt: skip
"""Made-up cohorts."""

NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""PTS's value for a denied item (P4: "maximum DateTime"), which many parsers cannot represent."""
_FIRST_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
_CYCLE: Final = 30
"""Number of generations after which the life of a restriction repeats."""
_REPLACED: Final = 6
"""The kind of a restriction that another one replaces at the end of each cycle."""
_DENIED: Final = (
    "NORN_EPO", "NORN_FFL", "NORN_KUT", "NORN_ALL", "NORN_FOR",
    "NORN_FFH", "NORN_FPB", "NORN_DUP", "NORN_ANG", "NORN_UNGDOM",
)  # fmt: skip
_CAUSES: Final = ("Manual", "Automated", "Derived", "Manual", "Automated", "Manual", "Undefined")


def is_synthetic(off_id: str) -> bool:
    """Whether the month is shifted by 80 or 65, as in no real person's identifier."""
    return any(0 < int(off_id[2:4]) - shift <= _MONTHS for shift in _SHIFTS)


@lru_cache(maxsize=8)
def population(seed: int, count: int) -> Mapping[str, int]:
    """The persons of a seed: the identifier of each line of the roster, with its number from 0."""
    rng, lines = _random("people", seed), dict[str, int]()
    while len(lines) < count:
        day = rng.randint(1, 28) + rng.choice((0,) * 19 + (40,))  # some have a D-number
        month = rng.randint(1, _MONTHS) + rng.choice(_SHIFTS)
        nine = f"{day:02d}{month:02d}{rng.randrange(100_000):05d}"
        if control := _control_digits(nine):
            lines.setdefault(nine + control, len(lines))
    return lines


def roster(seed: int, count: int) -> Iterator[tuple[str, str, str]]:
    """The roster of a seed as (off_id, local_ref, cohort), with cohorts of unequal sizes."""
    for off_id, index in population(seed, count).items():
        clinic = _CLINICS[min(index * 7 % 13 // 2, len(_CLINICS) - 1)]
        yield off_id, f"L{index:07d}", clinic


def _control_digits(nine: str) -> str:
    """The two check digits for the first nine. Empty if the number is not issued (F1)."""
    digits = [int(digit) for digit in nine]
    for weights in (_FIRST_WEIGHTS, _SECOND_WEIGHTS):
        # ``map`` stops at the shorter one, so each weight has its digit.
        digits.append(-sum(map(int.__mul__, weights, digits)) % 11)
    return "" if max(digits) > 9 else f"{digits[9]}{digits[10]}"  # noqa: PLR2004


class Restriction(NamedTuple):
    """One restriction.

    Attributes:
        off_id: its person.
        id: empty for a fault, a record without an id.
        values: by column, for all columns of the area.
        undeclared: a field that few records have and no contract declares.
    """

    off_id: str
    id: str
    values: Document
    undeclared: Document


def restrictions(area: str, seed: int, off_id: str, generation: int) -> Iterator[Restriction]:
    """The person's restrictions in this area and generation, the same on every call."""
    # Most exist forever and change once in a cycle. One in eight disappears and returns unchanged,
    # one in eight is replaced by another with a new id, and one in eight exists half of the time.
    rng = _random(area, seed, off_id)
    has_any = rng.random() < (0.42 if area == SAFETY else 0.15)
    for number in range(rng.choice((1, 1, 2, 3)) if has_any else 0):
        kind, birth, change = rng.randrange(8), rng.randrange(_CYCLE), rng.randrange(_CYCLE)
        epoch, age = divmod(generation + birth, _CYCLE)
        absent = {5: range(24, 27), _REPLACED: range(27, 30), 7: range(15, 30)}.get(kind, ())
        if age not in absent:
            # A restriction that is replaced gets new random values, and a new id, in each cycle.
            life = _random(area, seed, off_id, number, epoch if kind == _REPLACED else 0)
            yield _restriction(area, off_id, number, (generation + change) // _CYCLE, life)


def sample(area: str, off_id: str) -> Restriction:
    """A restriction for any identifier, for faults that need one."""
    return _restriction(area, off_id, 1, 0, _random("sample"))


def _random(*seeds: object) -> Random:
    """Random numbers that are the same for the same seeds, in every process."""
    # Not ``hash``, which differs from process to process.
    return Random(hashlib.blake2b(repr(seeds).encode(), digest_size=8).hexdigest())  # noqa: S311


def _new_id(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _restriction(area: str, off_id: str, number: int, revision: int, rng: Random) -> Restriction:
    created = _FIRST_DAY + timedelta(microseconds=rng.randrange(600 * 86_400 * 10**6))
    modified = created + timedelta(days=11 * revision) if revision else None
    if area == SAFETY:
        values = _safety(off_id, number, revision, created, rng)
    else:
        values = _privacy(revision, created, rng)
    values |= {"source_created_at": created, "source_modified_at": modified}
    undeclared = {"sourceRevision": revision} if rng.randrange(32) == 0 else {}
    return Restriction(off_id, _new_id(rng), values, undeclared)


def _safety(off_id: str, number: int, revision: int, created: datetime, rng: Random) -> Document:
    requisition = {"type": "Rekvisisjon", "value": _new_id(_random("requisition", off_id))}
    report = {"type": "Svarrapport", "value": _new_id(rng)}
    # The requisition itself comes first, and some of the reports belong to it.
    document = requisition if number == 0 and rng.randrange(3) == 0 else report
    parent = requisition if number and rng.randrange(3) == 0 else {"type": None, "value": None}
    code = rng.choices(("NORU", rng.choice(_DENIED), "N"), (58, 30, 12))[0]
    days, until = rng.randrange(10, 1_500) + 7 * revision, None
    # A requisition has a delay in days. Only its reports have an end date.
    if document is requisition:
        code = "NORU"
    elif code != "N":
        until = created + timedelta(days) if code == "NORU" else NEVER
    return {
        "confidentiality_code": code,
        "cause": rng.choice(_CAUSES),
        "delay_days": days if document is requisition else None,
        "delay_from_time": None,
        "delay_delivery_until": until,
        **{f"object_{name}": value for name, value in document.items()},
        **{f"parent_object_{name}": value for name, value in parent.items()},
        "created_by": {
            "role": rng.choice(("Lege", "Bioingeniør", "Helsesekretær", "System")),
            "organisation": f"{300_000_000 + rng.randrange(256)}",
        },
    }


def _privacy(revision: int, created: datetime, rng: Random) -> Document:
    end = rng.choice((None, None, created + timedelta(days=100 + 30 * revision)))
    return {
        "privacy_type": rng.choice(("Block", "Block", "Block", "Shield")),
        "privacy_level": "Hard" if (rng.randrange(4) + revision) % 4 == 0 else "Soft",
        "restriction_domain": "PPS",
        "object_scope": "All",
        "subject_scope": rng.choice(("All", "Specified")),
        "restricted_from": created,
        "restricted_to": end,
        "time_ranges": [{"from": created, "to": end}],
    }


COLUMNS: Final = {area: frozenset(sample(area, "").values) for area in (SAFETY, PRIVACY)}
"""The columns of a restriction, by area."""
