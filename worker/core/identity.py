"""National identifiers and pseudonym keys, whose values are never printed, and keyed pseudonyms.

An identifier is eleven digits (pts reference, 9). Wrong check digits are only a warning, because
synthetic numbers, felles hjelpenummer and future numbers follow other rules. No sex or date of
birth is derived from an identifier.
"""

import base64
import contextlib
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final, NoReturn

from worker.core.value import Value
from worker.masking import OFF_ID_DIGITS

KEY_BYTES_MIN: Final = 32
"""Minimum length of a pseudonym key in bytes (contract: ``privacy.pseudonym_key_file``)."""
_DISTINCT_BYTES_MIN: Final = 16
"""Minimum number of different bytes in a key. 32 random bytes have about 30."""
_PSEUDONYM_DIGITS: Final = 64
_NUMBER: Final = re.compile(r"[0-9][.,]?[0-9]*[Ee]\+[0-9]+|[0-9]{9,11}[.,]0+")
_AS_A_NUMBER: Final = (
    "it was written as a number (such as 6.8E+09, or with .0): keep the column as text"
)


class NationalId:
    """An ``offId``: a person's national identifier, whose digits are never printed.

    ``str``, ``repr`` and formatting give a mask. Pickling and JSON encoding fail. Only ``reveal``
    returns the digits: use it only for request bodies and pseudonyms.
    """

    __slots__ = ("_digits",)

    def __init__(self, digits: str) -> None:
        self._digits = digits

    def reveal(self) -> str:
        """The digits. They must not reach a log, message, metric, URL, argv or file name."""
        return self._digits

    def __repr__(self) -> str:
        return "NationalId(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NationalId) and self._digits == other._digits

    def __hash__(self) -> int:
        return hash(self._digits)

    def __reduce__(self) -> NoReturn:
        # A pickle would contain the digits.
        raise TypeError("a national identifier must not be pickled")


def normalise_off_id(text: str) -> str | None:
    """The 11 digits of the text, or None.

    Removes surrounding blanks, and one space or hyphen after the sixth digit.
    """
    stripped = text.strip()
    if len(stripped) == OFF_ID_DIGITS + 1 and stripped[6] in " -":
        stripped = stripped[:6] + stripped[7:]
    # isdigit() alone accepts digits of other scripts.
    if len(stripped) == OFF_ID_DIGITS and stripped.isascii() and stripped.isdigit():
        return stripped
    return None


def off_id_problem(text: str) -> str:
    """Why the text is not an identifier, without any part of the text."""
    stripped = text.strip()
    if not stripped:
        return "the identifier is empty"
    if is_written_as_number(stripped):
        return f"the identifier must be {OFF_ID_DIGITS} digits; {_AS_A_NUMBER}"
    if not (stripped.isascii() and stripped.isdigit()):
        return f"the identifier must be {OFF_ID_DIGITS} digits; other characters were found"
    problem = f"the identifier must be {OFF_ID_DIGITS} digits; {len(stripped)} were found"
    if len(stripped) == OFF_ID_DIGITS - 1:
        problem += "; a leading zero may have been lost: keep the column as text"
    return problem


def is_written_as_number(text: str) -> bool:
    """Whether a program wrote an identifier as a number, as ``6.8E+09`` or ``1013299997.0``."""
    return _NUMBER.fullmatch(text) is not None


def is_h_number(digits: str) -> bool:
    """Whether 11 digits have the pattern of an H-number: day 01 to 31, month 41 to 52.

    Organisations assign H-numbers to patients without a known identifier, for internal use only
    (HIS 1001:2010). NAV's synthetic persons have the same pattern.
    """
    return "01" <= digits[:2] <= "31" and "41" <= digits[2:4] <= "52"


class PseudonymKey:
    """A secret pseudonym key, which is never printed.

    Args:
        key: the content of the key file.

    Raises:
        ValueError: the key could be guessed. The message does not contain it.
    """

    __slots__ = ("_keyed_mac",)

    def __init__(self, key: bytes) -> None:
        if weakness := _weakness(key):
            raise ValueError(weakness)
        # Keyed once, and copied for each person: keying is half of the work of an HMAC.
        self._keyed_mac = hmac.new(key, digestmod=hashlib.sha256)

    def pseudonym(self, off_id: NationalId) -> str:
        """HMAC-SHA256 of the identifier, as 64 lower-case hex digits."""
        mac = self._keyed_mac.copy()
        mac.update(off_id.reveal().encode())
        return mac.hexdigest()

    def check_value(self) -> str:
        """Identifies this key without revealing it (16 hex digits)."""
        # The text is not eleven digits, so it cannot be the pseudonym of a person.
        mac = self._keyed_mac.copy()
        mac.update(b"pts-sync-worker key check value")
        return mac.hexdigest()[:16]

    def __repr__(self) -> str:
        return "PseudonymKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pseudonym key must not be pickled")


def short_key(person_key: str) -> str:
    """The short key for logs and messages: ``p-`` and the first 8 digits of the pseudonym.

    Eight digits cannot be mistaken for an identifier, even without its leading zero. Empty in
    plain mode, where the key is an identifier.
    """
    return f"p-{person_key[:8]}" if len(person_key) == _PSEUDONYM_DIGITS else ""


class Identity(Value, frozen=True, kw_only=True):
    """How the store identifies persons.

    Attributes:
        mode: ``pseudonym`` or ``plain``.
        person_key: maps an identifier to its key in the store.
        key_check: identifies the pseudonym key. Empty in plain mode.
    """

    mode: str
    person_key: Callable[[NationalId], str]
    key_check: str


PLAIN: Final = Identity(mode="plain", person_key=NationalId.reveal, key_check="")
"""The store uses identifiers as keys."""


def pseudonymous(key: PseudonymKey) -> Identity:
    """The store uses pseudonyms under this key as keys."""
    return Identity(mode="pseudonym", person_key=key.pseudonym, key_check=key.check_value())


def _weakness(content: bytes) -> str:
    """Why a key could be guessed. Empty for random bytes, raw, hexadecimal or Base64."""
    key = content
    # An encoded key has fewer random bytes than characters, so the decoded bytes are judged.
    with contextlib.suppress(UnicodeDecodeError):
        text = "".join(content.decode().splitlines()).strip()
        key = _decoded(text) if text.isprintable() else content
    if not key:
        return "the key is text, not random bytes"
    if len(key) < KEY_BYTES_MIN:
        return f"the key has {len(key)} bytes; it needs {KEY_BYTES_MIN}"
    if len(set(key)) < _DISTINCT_BYTES_MIN:
        return "the key's bytes are a pattern, not random"
    return ""


def _decoded(text: str) -> bytes:
    """The bytes that a text encodes in hexadecimal or Base64. Empty for other text."""
    # Base64 has two alphabets, and the decoder accepts one of them.
    standard = text.replace("-", "+").replace("_", "/")
    for decode in (bytes.fromhex, _from_base64):
        try:
            return decode(standard)
        except ValueError:
            continue
    return b""


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
