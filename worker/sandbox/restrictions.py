"""The restrictions of a person, as a pure function of seed, person, area and generation.

They are values by column; where PTS has each of them is the contract's to say. The codes are from
code system 9603 and PTS's documentation (PTS reference, section 3).
"""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple, TypeAlias

Document: TypeAlias = dict[str, Any]

SAFETY: Final = "patient-safety"
PRIVACY: Final = "patient-privacy"
AREAS: Final = (SAFETY, PRIVACY)

_LAST_S: Final = 253_402_300_799  # 9999-12-31T23:59:59Z


class Instant(NamedTuple):
    """A time: seconds since 1970, and .NET's seven fractional digits (model types, section 2)."""

    seconds: int
    ticks: int
    suffix: str = "Z"

    def text(self, zone: tzinfo | None = None) -> str:
        """As PTS sends it: with a suffix, or the local time of a zone without one."""
        is_last = self.seconds == _LAST_S
        at = datetime.fromtimestamp(self.seconds, tz=UTC if is_last else zone or UTC)
        fraction = f".{self.ticks % 10_000_000:07d}{'' if zone else self.suffix}"
        return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}"


NEVER: Final = Instant(_LAST_S, 9_999_999)
"""PTS's value for a denied item (P4: "maximum DateTime"), which many parsers cannot represent."""


CYCLE: Final = 30
"""Number of generations after which the life cycle of a restriction repeats."""

_DENIED: Final = (
    "NORN_EPO", "NORN_FFL", "NORN_KUT", "NORN_ALL", "NORN_FOR",
    "NORN_FFH", "NORN_FPB", "NORN_DUP", "NORN_ANG", "NORN_UNGDOM",
)  # fmt: skip
_CAUSES: Final = ("Manual", "Automated", "Derived", "Manual", "Automated", "Manual", "Undefined")
_ROLES: Final = ("Lege", "Bioingeniør", "Helsesekretær", "System")
_EPOCH_S: Final = 1_704_067_200  # 2024-01-01T00:00:00Z
_DAY_S: Final = 86_400
_SAFETY_PERCENT: Final = 40
_SAFETY_LATE_PERCENT: Final = 44
_PRIVACY_PERCENT: Final = 15
_LATE: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """One restriction.

    Attributes:
        off_id: the person whom it names.
        id: empty for a fault, a record without one.
        values: by column; all that the area has.
        undeclared: a field that few records have and no contract knows.
    """

    off_id: str
    id: str
    values: Document
    undeclared: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holder:
    """A person whose restrictions are generated.

    Attributes:
        owner: a number that survives a move.
        off_id: the identifier in the response.
        certain: the person has at least one safety restriction in every generation.
    """

    owner: int
    off_id: str
    certain: bool = False


def restrictions(area: str, seed: int, holder: Holder, generation: int) -> list[Restriction]:
    """The person's restrictions in this area and generation; the same on every call."""
    make = _safety if area == SAFETY else _privacy
    result = []
    for number, bits in _candidates(area, seed, holder):
        life = _life(bits, generation)
        if holder.certain and number == 0:
            life = (0, generation // CYCLE)
        if life is not None:
            result.append(make(holder, number, bits, life))
    return result


def sample(area: str, off_id: str) -> Restriction:
    """A restriction for any identifier, for faults that need one."""
    make = _safety if area == SAFETY else _privacy
    return make(Holder(0, off_id), 1, _hash("sample", 0, 0, 0), (0, 0))


def _hash(area: str, seed: int, owner: int, number: int) -> bytes:
    return hashlib.blake2b(
        f"{area} {owner} {number}".encode(), digest_size=40, key=b"sandbox %d" % seed
    ).digest()


def _candidates(area: str, seed: int, holder: Holder) -> Iterator[tuple[int, bytes]]:
    """Numbers and random bits of possible restrictions. Some persons get one only later."""
    draw = _hash(area, seed, holder.owner, 99)
    percent = int.from_bytes(draw[:2], "big") % 100
    if area == SAFETY:
        count = 1 + draw[2] % 4 if holder.certain or percent < _SAFETY_PERCENT else 0
        late = not count and percent < _SAFETY_LATE_PERCENT
    else:
        count = 1 + (draw[2] % 8 == 0) if percent < _PRIVACY_PERCENT else 0
        late = False
    for number in range(count or int(late)):
        bits = _hash(area, seed, holder.owner, number)
        yield number, bits[:5] + bytes([_LATE]) + bits[6:] if late else bits


def _life(bits: bytes, generation: int) -> tuple[int, int] | None:
    """Epoch and revision of the restriction in this generation; None while it does not exist.

    Most restrictions exist forever and change once per cycle. One in eight disappears and returns
    unchanged, one in eight is replaced by another with a new id, and one in eight exists half of
    the time.
    """
    epoch, age = divmod(generation + bits[4] % CYCLE, CYCLE)
    revision = (generation + bits[6] % CYCLE) // CYCLE
    match bits[5] % 8:
        case 5:
            return None if CYCLE - 6 <= age < CYCLE - 3 else (0, revision)
        case 6:
            return None if age >= CYCLE - 3 else (epoch, revision)
        case 7:
            return None if age >= CYCLE // 2 else (0, revision)
        case _:
            return 0, revision


def _id(bits: bytes, epoch: int, purpose: bytes) -> str:
    digest = hashlib.blake2b(bits + purpose + b"%d" % epoch, digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def _created_s(bits: bytes, epoch: int) -> int:
    return _EPOCH_S + int.from_bytes(bits[8:12], "big") % (600 * _DAY_S) + epoch * CYCLE * _DAY_S


def _restriction(
    holder: Holder, bits: bytes, life: tuple[int, int], values: Document
) -> Restriction:
    """The restriction, with what both areas have."""
    epoch, revision = life
    ticks = int.from_bytes(bits[8:12], "big")
    created_s = _created_s(bits, epoch)
    suffix = "+00:00" if bits[12] % 16 == 0 else "Z"
    changed_s = created_s + revision * 11 * _DAY_S
    values["source_created_at"] = Instant(created_s, ticks, suffix)
    values["source_modified_at"] = Instant(changed_s, ticks * 7, suffix) if revision else None
    return Restriction(
        off_id=holder.off_id,
        id=_id(bits, epoch, b"id"),
        values=values,
        undeclared={"sourceRevision": revision} if bits[22] % 32 == 0 else {},
    )


def _safety(holder: Holder, number: int, bits: bytes, life: tuple[int, int]) -> Restriction:
    epoch, revision = life
    draw = bits[15] % 100
    requisition = number == 0 and bits[16] % 3 == 0
    requisition_id = _id(b"%d" % holder.owner, 0, b"requisition")
    is_part = number > 0 and bits[14] % 3 == 0
    code, until, delay_days = "NORU", None, None
    if requisition:
        delay_days = 7 * (1 + bits[17] % 4) + revision
    elif draw < 58:  # noqa: PLR2004 - shares of the codes, in percent
        until_s = _created_s(bits, epoch) + (10 + 6 * bits[18] + 7 * revision) * _DAY_S
        until = Instant(until_s, 0 if bits[19] % 2 else 1_234_567)
    elif draw < 88:  # noqa: PLR2004
        code, until = _DENIED[bits[20] % len(_DENIED)], NEVER
    else:
        code = "N"
    values = {
        "confidentiality_code": code,
        "cause": _CAUSES[bits[21] % len(_CAUSES)],
        "delay_days": delay_days,
        "delay_from_time": None,
        "delay_delivery_until": until,
        "object_type": "Rekvisisjon" if requisition else "Svarrapport",
        "object_value": requisition_id if requisition else _id(bits, epoch, b"object"),
        "parent_object_type": "Rekvisisjon" if is_part else None,
        "parent_object_value": requisition_id if is_part else None,
        "created_by": {
            "role": _ROLES[bits[13] % len(_ROLES)],
            "organisation": f"{300_000_000 + bits[13]}",
        },
    }
    return _restriction(holder, bits, life, values)


def _privacy(holder: Holder, number: int, bits: bytes, life: tuple[int, int]) -> Restriction:
    created_s = _created_s(bits, life[0])
    begin = Instant(created_s, number)
    end = Instant(created_s + (100 + 30 * life[1]) * _DAY_S, 0) if bits[16] % 3 == 0 else None
    values = {
        "privacy_type": "Block" if bits[17] % 4 else "Shield",
        "privacy_level": "Hard" if (bits[18] + life[1]) % 4 == 0 else "Soft",
        "restriction_domain": "PPS",
        "object_scope": "All",
        "subject_scope": "All" if bits[15] % 2 else "Specified",
        "restricted_from": begin,
        "restricted_to": end,
        "time_ranges": [{"from": begin, "to": end}],
    }
    return _restriction(holder, bits, life, values)


COLUMNS: Final = {area: frozenset(sample(area, "").values) for area in AREAS}
"""What can be asked of a restriction, by area."""
