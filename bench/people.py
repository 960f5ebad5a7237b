"""Made-up persons and what PTS holds of them: pure functions of the identifier.

1.5 objects a person on average, about 800 bytes each, in the shape that the sandbox shows. The
identifiers are synthetic (month +80), with control digits that add up.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

SAFETY: Final = "patient-safety"
PRIVACY: Final = "patient-privacy"

_DAYS: Final = 28
_MONTHS: Final = 12
_YEARS: Final = 100
_WEIGHTS: Final = ((3, 7, 6, 1, 8, 9, 4, 5, 2), (5, 4, 3, 2, 7, 6, 5, 4, 3, 2))
_SAFETY_COUNTS: Final = (0, 0, 0, 1, 1, 2, 2, 3)
_PRIVACY_COUNTS: Final = (0, 0, 0, 0, 0, 1, 1, 1)
OBJECTS_PER_PERSON: Final = sum(_SAFETY_COUNTS) / 8 + sum(_PRIVACY_COUNTS) / 8
"""1.5: each list holds the counts of eight persons out of eight."""

_FORMER: Final = (
    '{"system":"Laboratoriets fagsystem","organization":{"name":"Avdeling for oppdiktede svar '
    'ved et sykehus som ikke finnes","number":"900000000"},"note":"Lagt inn etter avtale, '
    'gjelder til annet er bestemt av den som har myndighet til det, og bare her"}'
)
_SAFETY_OBJECT: Final = (
    '{"id":"%s","createdTime":"2026-0%d-1%dT08:14:%02d.1234567Z","modifiedTime":%s,'
    '"createdBy":"LIMS-%d","modifiedBy":' + _FORMER + ',"patientSafetyObject":{"person":'
    '{"offId":"%s"},"confidentialObjectId":{"type":"Svarrapport","value":"%s"}},'
    '"parentConfidentialObjectId":{"type":"Rekvisisjon","value":"%s"},"confidentialityCode":'
    '"NORU","cause":"Automated","delayDays":null,"delayFromTime":null,'
    '"delayDeliveryUntil":"2027-0%d-01T00:00:00Z"}'
)
_PRIVACY_OBJECT: Final = (
    '{"id":"%s","createdTime":"2026-0%d-1%dT08:14:%02d.1234567Z","modifiedTime":%s,'
    '"createdBy":"EPJ-%d","modifiedBy":' + _FORMER + ',"patientPrivacyObject":{"person":'
    '{"offId":"%s"}},"privacyType":"Block","privacyLevel":"Soft","restrictionDomain":"PPS","objectScope":{"type":"Specified",'
    '"ids":["%s","%s"]},"subjectScope":{"type":"All"},"timeRanges":'
    '[{"from":"2026-0%d-01T00:00:00.0000000Z","to":null}]}'
)


def off_id(number: int) -> str:
    """The identifier of the person with this number; each number has its own.

    Raises:
        ValueError: there are no identifiers for so large a number.
    """
    rest, day = divmod(number, _DAYS)
    rest, month = divmod(rest, _MONTHS)
    block, year = divmod(rest, _YEARS)
    if not 0 <= block < 100:  # noqa: PLR2004 - two digits
        raise ValueError(f"no identifier for person {number}")
    head = f"{day + 1:02d}{month + 81:02d}{year:02d}{block:02d}"
    for digit in range(10):
        found = _with_control_digits(f"{head}{digit}")
        if found is not None:
            return found
    raise AssertionError("one digit of ten always serves")


def _with_control_digits(nine: str) -> str | None:
    digits = [int(digit) for digit in nine]
    for weights in _WEIGHTS:
        control = -sum(map(int.__mul__, weights, digits)) % 11
        if control > 9:  # noqa: PLR2004 - it must be a digit
            return None
        digits.append(control)
    return "".join(map(str, digits))


def roster_lines(count: int) -> Iterator[str]:
    """The lines of a roster of so many persons, the header first."""
    yield "off_id,local_ref\n"
    for number in range(count):
        yield f"{off_id(number)},L{number:07d}\n"


def answer(area: str, person: str, generation: int = 0, change_percent: int = 0) -> bytes:
    """What PTS answers for a person: a JSON list.

    Args:
        area: which of the two.
        person: the identifier.
        generation: 0 is the first night; each later one changes some objects.
        change_percent: of every hundred persons, how many differ from one generation to the next.
    """
    draw = hashlib.blake2b(person.encode(), digest_size=16).digest()
    if area == SAFETY:
        count, template, salt = _SAFETY_COUNTS[draw[0] % 8], _SAFETY_OBJECT, 0
    else:
        count, template, salt = _PRIVACY_COUNTS[draw[1] % 8], _PRIVACY_OBJECT, 64
    if not count:
        return b"[]"
    revision = _revision(draw, generation, change_percent)
    changed = f'"2026-09-01T00:00:00.{revision:07d}Z"' if revision else "null"
    objects = []
    for place in range(count):
        values = draw[2:15] + bytes((salt + place,))
        month, day, second = 1 + values[0] % 9, values[1] % 10, values[2] % 60
        stamps = (month, day, second, changed, values[3] % 10)
        key, thing, parent = _uuids(values)
        objects.append(template % (key, *stamps, person, thing, parent, 1 + values[4] % 9))
    return f"[{','.join(objects)}]".encode()


def _revision(draw: bytes, generation: int, change_percent: int) -> int:
    """How often the person's objects have changed up to this generation."""
    if not generation or not change_percent:
        return 0
    phase = int.from_bytes(draw[12:16], "big") % 100
    return sum(
        (phase - night * change_percent) % 100 < change_percent
        for night in range(1, generation + 1)
    )


def _uuids(values: bytes) -> tuple[str, str, str]:
    """Three identifiers in the form of a UUID, which ``uuid`` would make far more slowly."""
    drawn = hashlib.blake2b(values, digest_size=48).hexdigest()
    parts = drawn[:32], drawn[32:64], drawn[64:]
    first, second, third = (
        f"{part[:8]}-{part[8:12]}-4{part[13:16]}-8{part[17:20]}-{part[20:]}" for part in parts
    )
    return first, second, third
