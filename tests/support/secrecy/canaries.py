"""Canaries: what is planted in rosters, answers and keys; and the search for it everywhere else."""

import re
from dataclasses import dataclass

from tests.support.standin import PRIVACY, SAFETY, Records, privacy, safety

CANARY = "kanarifugl-i-kroppen"
"""Stands in bodies that are not understood, and must be found nowhere."""

WORD = "hemmelig-ord-i-svare"
"""Stands in good records: it may be kept in the database, and nowhere else. As long as ``CANARY``,
so that one can take the other's place in bytes that are sent."""

OPAQUE = "0paqueT0ken-4f9a1c"
"""A token that looks like nothing."""

JWT = "eyJhbGciOiJQUzI1NiJ9.eyJzdWIiOiJrYW5hcmkifQ.c2lnbmF0dXJl"

_RUN = re.compile(rb"[0-9]{10,}")
_GROUPS = re.compile(rb"[0-9]{1,2}[ ./-]?[0-9]{2}[ ./-]?[0-9]{2}[ ./-][0-9]{5}")


def spaced(off_id: str) -> str:
    """An identifier as people write it."""
    return f"{off_id[:6]} {off_id[6:]}"


def records_of(off_id: str) -> dict[str, Records]:
    """Restrictions that name the person in every form, everywhere, and hold the word."""
    return {
        SAFETY: [
            safety(
                off_id,
                "0",
                createdBy={"role": f"LIS for {off_id}", "name": WORD},
                cause=f"Gjelder {spaced(off_id)}. {WORD}",
                note=WORD,
                deep=[{"a": [off_id, {off_id: int(off_id)}]}],
            ),
            safety(off_id, "1", createdBy={"role": WORD}),
        ],
        PRIVACY: [privacy(off_id, "0", restrictionDomain=f"{WORD} {off_id[:6]}-{off_id[6:]}")],
    }


@dataclass(frozen=True, kw_only=True)
class Place:
    """Something that was left behind.

    Attributes:
        kind: ``output``, ``explained`` (what ``explain`` says), ``log``, ``file``, ``export``,
            ``database``, ``metrics`` or ``arguments``.
        name: which.
    """

    kind: str
    name: str
    data: bytes

    def __repr__(self) -> str:
        return f"{self.kind} {self.name} ({len(self.data)} bytes)"


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What was planted."""

    identifiers: frozenset[str]
    keys: tuple[bytes, ...]

    def identifiers_in(self, data: bytes) -> set[str]:
        """Identifiers as digits, with or without leading zeros, and in groups."""
        short = {one.lstrip("0"): one for one in self.identifiers}
        runs = {run.decode() for run in _RUN.findall(data)}
        found = {
            short[part]
            for run in runs
            for length in (10, 11)
            for at in range(len(run) - length + 1)
            if (part := run[at : at + length]) in short
        }
        groups = (re.sub(r"\D", "", one.decode()).lstrip("0") for one in _GROUPS.findall(data))
        return found | {short[one] for one in groups if one in short}

    def keys_in(self, data: bytes) -> list[bytes]:
        """Private keys and the key of the pseudonyms, in any spelling."""
        return [key for key in self.keys if key in data]
