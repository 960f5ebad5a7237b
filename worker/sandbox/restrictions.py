"""The restrictions of a person, as a pure function of seed, person, area and generation.

The shape on the wire is inferred (pts reference, section 2, "Wire shape to assume"); the codes are
those of code system 9603 and of PTS's own pages (section 3).
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
"""What the service sets for a denied item (P4: "maximum DateTime"): many parsers cannot hold it."""

CYCLE: Final = 30
"""Generations after which the life of a restriction repeats."""

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
    """One restriction and what the filters need to know of it.

    Attributes:
        document: as it goes over the wire.
        until_s: when the delay ends, seconds since 1970; None if it never does or has none.
    """

    document: Document
    until_s: int | None


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose restrictions to tell, and under which identifier.

    Attributes:
        owner: a number that outlives a change of identifier.
        certain: the person has at least one safety restriction in every generation.
    """

    owner: int
    off_id: str
    certain: bool = False


def restrictions(area: str, seed: int, holder: Holder, generation: int) -> list[Restriction]:
    """What the person has in this area in this generation; the same on every call."""
    make = _safety if area == SAFETY else _privacy
    found = []
    for slot, bits in _slots(area, seed, holder):
        life = _life(bits, generation)
        if holder.certain and slot == 0:
            life = (0, generation // CYCLE)
        if life is not None:
            found.append(make(holder, slot, bits, life))
    return found


def sample(area: str, off_id: str) -> Document:
    """One restriction for this identifier, come what may: the material of some faults."""
    holder = Holder(0, off_id)
    make = _safety if area == SAFETY else _privacy
    return make(holder, 1, _hash("sample", 0, 0, 0), (0, 0)).document


def _hash(area: str, seed: int, owner: int, slot: int) -> bytes:
    return hashlib.blake2b(
        f"{area} {owner} {slot}".encode(), digest_size=40, key=b"sandbox %d" % seed
    ).digest()


def _slots(area: str, seed: int, holder: Holder) -> Iterator[tuple[int, bytes]]:
    """The places where a restriction may stand; a few persons have one that comes later."""
    draw = _hash(area, seed, holder.owner, 99)
    percent = int.from_bytes(draw[:2], "big") % 100
    if area == SAFETY:
        count = 1 + draw[2] % 4 if holder.certain or percent < _SAFETY_PERCENT else 0
        late = not count and percent < _SAFETY_LATE_PERCENT
    else:
        count = 1 + (draw[2] % 8 == 0) if percent < _PRIVACY_PERCENT else 0
        late = False
    for slot in range(count or int(late)):
        bits = _hash(area, seed, holder.owner, slot)
        yield slot, bits[:5] + bytes([_LATE]) + bits[6:] if late else bits


def _life(bits: bytes, generation: int) -> tuple[int, int] | None:
    """(epoch, revision) of the restriction in this generation, None while there is none.

    Most stay for ever and are changed once a cycle. One in eight goes and returns as it was, one in
    eight is replaced by another with a new id, one in eight is there half of the time.
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
    """As .NET writes it, with seven fractional digits (model types, section 2)."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ticks % 10_000_000:07d}{suffix}"


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


def _parent(holder: Holder, bits: bytes, slot: int) -> Document | None:
    if slot == 0 or bits[14] % 3:
        return None
    return {"type": "Rekvisisjon", "value": _id(b"%d" % holder.owner, 0, b"requisition")}


def _safety(holder: Holder, slot: int, bits: bytes, life: tuple[int, int]) -> Restriction:
    created_s, document = _stamps(bits, life)
    draw, revision = bits[15] % 100, life[1]
    requisition = slot == 0 and bits[16] % 3 == 0
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
        "parentConfidentialObjectId": _parent(holder, bits, slot),
        "confidentialityCode": code,
        "cause": _CAUSES[bits[21] % len(_CAUSES)],
        "delayDays": delay_days,
        "delayDeliveryUntil": until,
    }
    if bits[22] % 32 == 0:
        document["sourceRevision"] = revision
    return Restriction(document, until_s)


def _privacy(holder: Holder, slot: int, bits: bytes, life: tuple[int, int]) -> Restriction:
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
            {"from": _instant(created_s, slot), "to": _instant(until_s, 0) if ends else None}
        ],
    }
    if bits[22] % 32 == 0:
        document["sourceRevision"] = life[1]
    return Restriction(document, None)
