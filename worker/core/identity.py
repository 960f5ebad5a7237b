"""National identifiers and pseudonym keys as types that never print, and keyed pseudonyms."""

import base64
import codecs
import hashlib
import hmac
import itertools
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from worker.core.value import Value

KEY_BYTES_MIN: Final = 32
"""Minimum length of a pseudonym key in bytes (contract: ``privacy.pseudonym_key_file``)."""

_VERSION: Final = "pts-sync-worker pseudonym 1"
_OTHER: Final = "other"
"""The label if no environment is configured, as for a sandbox."""
_LABELS: Final = ("test", "test-internet", "production", _OTHER)
"""All labels that a database may have been created with."""
_DIFFERENT_MIN: Final = 16
_DIFFERENT_IN_TEXT_MIN: Final = 20
"""32 random bytes in Base64 have about 31 distinct characters of 43."""
_CHANGES_MIN: Final = 0.3
"""In Base64 of random bytes, 64 % of adjacent characters differ in kind (lower, upper, digit)."""
_PSEUDONYM_DIGITS: Final = 64


class NationalId:
    """An ``offId``: a person's national identifier, which never prints.

    ``str``, ``repr`` and formatting give a mask; pickling and JSON encoding fail. Only ``reveal``
    returns the digits; use it only for request bodies and pseudonyms.
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
        raise TypeError("a national identifier must not be pickled")


class PseudonymKey:
    """A secret pseudonym key, which never prints.

    Args:
        key: the content of the key file.
        label: separates uses of one key: each label gives different pseudonyms.

    Raises:
        ValueError: the key is shorter than ``KEY_BYTES_MIN`` bytes.
    """

    __slots__ = ("_key", "_start")

    def __init__(self, key: bytes, label: str = "") -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"the pseudonym key has {len(key)} bytes; it needs {KEY_BYTES_MIN}")
        self._key = key
        self._start = hmac.new(key, digestmod=hashlib.sha256)
        if label:
            self._start.update(f"{_VERSION} {label}\0".encode())

    def under(self, label: str) -> "PseudonymKey":
        """The same key under another label."""
        return PseudonymKey(self._key, label)

    def pseudonym(self, off_id: NationalId) -> str:
        """HMAC-SHA256 of the label, if any, and the identifier, as 64 lower-case hex digits."""
        mac = self._start.copy()
        mac.update(off_id.reveal().encode())
        return mac.hexdigest()

    def check_value(self) -> str:
        """Identifies this key and label without revealing them (16 hex digits)."""
        mac = self._start.copy()
        mac.update(b"pts-sync-worker key check value")
        return mac.hexdigest()[:16]

    def weakness(self) -> str:
        """Why this key could be guessed; empty for random bytes, also in hex or Base64.

        Weak keys are text (a phrase, even if valid as Base64), encodings of fewer than
        ``KEY_BYTES_MIN`` bytes, and bytes with fewer than 16 distinct values or steps (repeated
        bytes, short patterns, counting). Fewer than one in 10^11 random keys of 32 bytes count as
        weak, and about two in a million if written in Base64.
        """
        key, text = self._key, _text(self._key)
        if text is not None:
            decoded = _decoded(text)
            if decoded is None:
                return "the key is text, not random bytes"
            if len(decoded) < KEY_BYTES_MIN:
                return (
                    f"the key is text that encodes {len(decoded)} bytes; a key needs at least "
                    f"{KEY_BYTES_MIN} random bytes"
                )
            key = decoded
        steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
        if min(len(set(key)), len(steps)) < _DIFFERENT_MIN:
            return "the key's bytes are a pattern, not random"
        return ""

    def __repr__(self) -> str:
        return "PseudonymKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pseudonym key must not be pickled")


def short_key(person_key: str) -> str:
    """A person in logs and messages: ``p-`` and the first 8 digits of the pseudonym.

    This is too short to be mistaken for an identifier, even one without its leading zero. Empty in
    plain mode, where the key is an identifier.
    """
    return f"p-{person_key[:8]}" if len(person_key) == _PSEUDONYM_DIGITS else ""


class Identity(Value, frozen=True, kw_only=True):
    """How the store identifies persons.

    Attributes:
        mode: ``pseudonym`` or ``plain``.
        person_key: maps an identifier to its key in the store.
        key_check: identifies pseudonym key and label; empty in plain mode.
        weakness: why the pseudonym key could be guessed; empty if it looks random.
        labelled: the same key under other labels, for databases created with them.
    """

    hidden = frozenset({"labelled"})

    mode: str
    person_key: Callable[[NationalId], str]
    key_check: str
    weakness: str = ""
    labelled: tuple["Identity", ...] = ()

    def under(self, key_check: str) -> "Identity | None":
        """The identity for a store with this check value; None if the store has another key."""
        identities = (self, *self.labelled)
        return next((item for item in identities if item.key_check == key_check), None)


PLAIN: Final = Identity(mode="plain", person_key=NationalId.reveal, key_check="")
"""The store uses identifiers as keys."""


def pseudonyms(key: PseudonymKey, environment: str | None) -> Identity:
    """Pseudonyms under a key, labelled by environment (``api.environment``).

    A key used for test and production gives a person two pseudonyms, which cannot be linked without
    the key.
    """
    label = environment or _OTHER
    labels = (label, *(name for name in _LABELS if name != label))
    weakness = key.weakness()
    first, *labelled_identities = (
        Identity(
            mode="pseudonym",
            person_key=labelled.pseudonym,
            key_check=labelled.check_value(),
            weakness=weakness,
        )
        for labelled in map(key.under, labels)
    )
    return msgspec.structs.replace(first, labelled=tuple(labelled_identities))


def _text(content: bytes) -> str | None:
    """The text in a file, with its lines joined; None if it is not text."""
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    text = "".join(text.splitlines()).strip()
    return text if text.replace("\t", "").isprintable() else None


def _decoded(text: str) -> bytes | None:
    """The bytes encoded in hexadecimal or Base64; None if the text is a phrase."""
    for decode in (bytes.fromhex, _from_base64):
        try:
            return decode(text)
        except ValueError:
            continue
    return None


def _from_base64(text: str) -> bytes:
    kinds = [_kind(character) for character in text.rstrip("=")]
    changes = sum(before != after for before, after in itertools.pairwise(kinds))
    if len(set(text)) < _DIFFERENT_IN_TEXT_MIN or changes < _CHANGES_MIN * len(kinds):
        raise ValueError("a phrase, not Base64")
    standard = text.replace("-", "+").replace("_", "/")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _kind(character: str) -> str:
    if character.isdigit():
        return "digit"
    return "lower" if character.islower() else "upper" if character.isupper() else "other"
