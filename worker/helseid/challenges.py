"""``WWW-Authenticate`` (RFC 9110 §11.6.1), read with tolerance. Pure."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from worker.core.value import Value

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105
_PARAMETER: Final = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)(?:"|$)|({_TOKEN}))', re.DOTALL
)
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]+([A-Za-z0-9\-._~+/]+=*)(?=[ \t]*(?:,|$)))?")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_LENGTH_MAX: Final = 8192
"""Characters that are read of all values together; nothing that matters is longer."""


class Challenge(Value, frozen=True, kw_only=True):
    """One challenge.

    Attributes:
        scheme: lower case, e.g. ``dpop``.
        parameters: values by lower-case name; of a name that came twice, the first.
    """

    scheme: str
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Every challenge in the header's values, in order; what cannot be read is passed over.

    A header may hold several challenges, and a challenge several parameters, all separated by the
    same comma: what has an equals sign and a value is a parameter, any other word a scheme. The
    time is linear in the length, of which the first 8,192 characters count.
    """
    found: list[Challenge] = []
    room = _LENGTH_MAX
    for value in values:
        found.extend(_parse(value[:room]))
        room -= len(value)
        if room <= 0:
            break
    return tuple(found)


def _parse(value: str) -> list[Challenge]:
    found: list[Challenge] = []
    at = 0
    while at < len(value):
        if parameter := _PARAMETER.match(value, at):
            at = parameter.end()
            name, quoted, plain = parameter.groups()
            text = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            if found:
                found[-1].parameters.setdefault(name.casefold(), text)
        elif scheme := _SCHEME.match(value, at):
            at = scheme.end()
            found.append(Challenge(scheme=scheme.group(1).casefold()))
        else:
            at += 1
    return found
