"""The restrictions of a person, as a pure function of seed, person, area and generation.

The format is inferred (PTS reference, section 2, "Wire shape to assume"). The codes are from code
system 9603 and PTS's documentation (section 3).
"""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

Document: TypeAlias = dict[str, Any]

SAFETY: Final = "patient-safety"
PRIVACY: Final = "patient-privacy"
AREAS: Final = (SAFETY, PRIVACY)

NEVER: Final = "9999-12-31T23:59:59.9999999Z"
"""PTS's value for a denied item (P4: "maximum DateTime"), which many parsers cannot represent."""

CYCLE: Final = 30
"""Number of generations after which the life cycle of a restriction repeats."""

_DENIED: Final = (
    "NORN_EPO", "NORN_FFL", "NORN_KUT", "NORN_ALL", "NORN_FOR",
    "NORN_FFH", "NORN_FPB", "NORN_DUP", "NORN_ANG", "NORN_UNGDOM",
)  # fmt: skip
_CAUSES: Final = ("Manual", "Automated", "Derived", "Manual", "Automated", "Manual", "Undefined")
_EPOCH_S: Final = 1_704_067_200  # 2024-01-01T00:00:00Z
_DAY_S: Final = 86_400
_SAFETY_PERCENT: Final = 40
_SAFETY_LATE_PERCENT: Final = 44
_PRIVACY_PERCENT: Final = 15
_LATE: Final = 7


@dataclass(frozen=True, slots=True)
class Restriction:
    """One restriction, with the data for the filters.

    Attributes:
        until_s: end of the delay, in seconds since 1970; None without an end or a delay.
    """

    document: Document
    until_s: int | None


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


def sample(area: str, off_id: str) -> Document:
    """A restriction for any identifier, for faults that need one."""
    holder = Holder(0, off_id)
    make = _safety if area == SAFETY else _privacy
    return make(holder, 1, _hash("sample", 0, 0, 0), (0, 0)).document


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


def _instant(seconds: int, ticks: int, *, suffix: str = "Z") -> str:
    """A time in .NET's format, with seven fractional digits (model types, section 2)."""
    at = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ticks % 10_000_000:07d}{suffix}"


def _id(bits: bytes, epoch: int, purpose: bytes) -> str:
    digest = hashlib.blake2b(bits + purpose + b"%d" % epoch, digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def _stamps(bits: bytes, life: tuple[int, int]) -> tuple[int, Document]:
    epoch, revision = life
    ticks = int.from_bytes(bits[8:12], "big")
    created_s = _EPOCH_S + ticks % (600 * _DAY_S) + epoch * CYCLE * _DAY_S
    suffix = "+00:00" if bits[12] % 16 == 0 else "Z"
    changed_s = created_s + revision * 11 * _DAY_S
    return created_s, {
        "id": _id(bits, epoch, b"id"),
        "createdTime": _instant(created_s, ticks, suffix=suffix),
        "modifiedTime": _instant(changed_s, ticks * 7, suffix=suffix) if revision else None,
        "createdBy": f"LIMS-{bits[13] % 5}",
    }


def _parent(holder: Holder, bits: bytes, number: int) -> Document | None:
    if number == 0 or bits[14] % 3:
        return None
    return {"type": "Rekvisisjon", "value": _id(b"%d" % holder.owner, 0, b"requisition")}


def _safety(holder: Holder, number: int, bits: bytes, life: tuple[int, int]) -> Restriction:
    created_s, document = _stamps(bits, life)
    draw, revision = bits[15] % 100, life[1]
    requisition = number == 0 and bits[16] % 3 == 0
    code, until_s, until, delay_days = "NORU", None, None, None
    if requisition:
        delay_days = 7 * (1 + bits[17] % 4) + revision
    elif draw < 58:  # noqa: PLR2004 - shares of the codes, in percent
        until_s = created_s + (10 + 6 * bits[18] + 7 * revision) * _DAY_S
        until = _instant(until_s, 0 if bits[19] % 2 else 1_234_567)
    elif draw < 88:  # noqa: PLR2004
        code, until = _DENIED[bits[20] % len(_DENIED)], NEVER
    else:
        code = "N"
    kind, value = "Svarrapport", _id(bits, life[0], b"object")
    if requisition:
        kind, value = "Rekvisisjon", _id(b"%d" % holder.owner, 0, b"requisition")
    document |= {
        "patientSafetyObject": {
            "person": {"offId": holder.off_id},
            "confidentialObjectId": {"type": kind, "value": value},
        },
        "parentConfidentialObjectId": _parent(holder, bits, number),
        "confidentialityCode": code,
        "cause": _CAUSES[bits[21] % len(_CAUSES)],
        "delayDays": delay_days,
        "delayDeliveryUntil": until,
    }
    if bits[22] % 32 == 0:
        document["sourceRevision"] = revision
    return Restriction(document, until_s)


def _privacy(holder: Holder, number: int, bits: bytes, life: tuple[int, int]) -> Restriction:
    created_s, document = _stamps(bits, life)
    named = bits[15] % 2 == 0
    ends = bits[16] % 3 == 0
    until_s = created_s + (100 + 30 * life[1]) * _DAY_S
    document |= {
        "person": {"offId": holder.off_id},
        "privacyType": "Block" if bits[17] % 4 else "Shield",
        "privacyLevel": "Hard" if (bits[18] + life[1]) % 4 == 0 else "Soft",
        "restrictionDomain": "PPS",
        "objectScope": {"type": "All"},
        "subjectScope": {"type": "Specified", "ids": [f"HPR-{7_000_000 + bits[19]}"]}
        if named
        else {"type": "All"},
        "timeRanges": [
            {"from": _instant(created_s, number), "to": _instant(until_s, 0) if ends else None}
        ],
    }
    if bits[22] % 32 == 0:
        document["sourceRevision"] = life[1]
    return Restriction(document, None)
