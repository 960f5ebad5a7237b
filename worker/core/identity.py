"""Identifiers of persons, as types that do not print, and the keyed pseudonym of one."""

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
"""The least length of a pseudonym key, in bytes (contract: ``privacy.pseudonym_key_file``)."""

_VERSION: Final = "pts-sync-worker pseudonym 1"
_OTHER: Final = "other"
"""The label where no environment is named, as with a sandbox."""
_LABELS: Final = ("", "test", "test-internet", "production", _OTHER)
"""Every label that a database may have been begun with."""
_DIFFERENT_MIN: Final = 16
_DIFFERENT_IN_TEXT_MIN: Final = 20
"""Of the 43 characters of 32 random bytes in Base64 some 31 are different."""
_CHANGES_MIN: Final = 0.3
"""Of two neighbours in Base64 of random bytes 64 % are of different kinds (small, large, digit)."""
_PSEUDONYM_DIGITS: Final = 64


class NationalId:
    """An ``offId``: a national identifier of a person, kept from every output.

    ``str``, ``repr`` and formatting give a mask; pickling and JSON encoding fail. ``reveal`` is the
    one way to the digits, for the request body and the pseudonym only.
    """

    __slots__ = ("_digits",)

    def __init__(self, digits: str) -> None:
        self._digits = digits

    def reveal(self) -> str:
        """The identifier itself. Must not reach a log, message, metric, URL, argv or file name."""
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
        raise TypeError("a national identifier is not to be pickled or copied out")


class PseudonymKey:
    """A secret key for pseudonyms, kept from every output.

    Args:
        key: the key's bytes, as they stand in its file.
        label: tells apart what one key is used for: the same person has another pseudonym under
            another label. Empty in databases that were begun before version 0.2.

    Raises:
        ValueError: the key is shorter than ``KEY_BYTES_MIN`` bytes.
    """

    __slots__ = ("_key", "_start")

    def __init__(self, key: bytes, label: str = "") -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"the pseudonym key holds {len(key)} bytes; at least {KEY_BYTES_MIN}")
        self._key = key
        self._start = hmac.new(key, digestmod=hashlib.sha256)
        if label:
            self._start.update(f"{_VERSION} {label}\0".encode())

    def under(self, label: str) -> "PseudonymKey":
        """The same key under another label."""
        return PseudonymKey(self._key, label)

    def pseudonym(self, off_id: NationalId) -> str:
        """HMAC-SHA256 of label and identifier's digits under the key, as 64 lower-case hex digits.

        Without a label, of the digits alone.
        """
        mac = self._start.copy()
        mac.update(off_id.reveal().encode())
        return mac.hexdigest()

    def check_value(self) -> str:
        """What tells this key and label from others without telling them (16 hex digits)."""
        mac = self._start.copy()
        mac.update(b"pts-sync-worker key check value")
        return mac.hexdigest()[:16]

    def weakness(self) -> str:
        """Why this key may be guessed; empty for random bytes, also written in hex or Base64.

        Refused are text (a phrase can be tried), also where it could be Base64; what stands for
        fewer than ``KEY_BYTES_MIN`` bytes; and bytes of fewer than 16 different values or steps
        (one byte again and again, a short pattern, counting). Of 32 random bytes fewer than one in
        10^11 have so few; written in Base64 some two in a million look like words.
        """
        key, text = self._key, _text(self._key)
        if text is not None:
            decoded = _decoded(text)
            if decoded is None:
                return "the key is text, not random bytes"
            if len(decoded) < KEY_BYTES_MIN:
                return (
                    f"the key is text that stands for {len(decoded)} bytes, and a key has at least "
                    f"{KEY_BYTES_MIN} random ones"
                )
            key = decoded
        steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
        if min(len(set(key)), len(steps)) < _DIFFERENT_MIN:
            return "the key's bytes repeat or count, and are not random"
        return ""

    def __repr__(self) -> str:
        return "PseudonymKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pseudonym key is not to be pickled or copied out")


def short_key(person_key: str) -> str:
    """How a person is shown in logs and messages: ``p-`` and the first 8 digits of the pseudonym.

    Too short to be taken for an identifier, also for one without its leading zero. Nothing of a key
    that is an identifier (plain identity).
    """
    return f"p-{person_key[:8]}" if len(person_key) == _PSEUDONYM_DIGITS else ""


class Identity(Value, frozen=True, kw_only=True):
    """How a person stands in the store.

    Attributes:
        mode: ``pseudonym`` or ``plain``.
        person_key: the key of an identifier.
        key_check: tells one pseudonym key and label from another; empty in plain mode.
        weakness: why the pseudonym key may be guessed; empty if nothing speaks for it.
        labelled: the same under other labels, for databases that were begun with these.
    """

    hidden = frozenset({"labelled"})

    mode: str
    person_key: Callable[[NationalId], str]
    key_check: str
    weakness: str = ""
    labelled: tuple["Identity", ...] = ()

    @property
    def pseudonym_of(self) -> Callable[[NationalId], str] | None:
        """What stands for an identifier; None where identifiers stay."""
        return self.person_key if self.mode == "pseudonym" else None

    def under(self, key_check: str) -> "Identity | None":
        """The identity in a store with this check value; None if its key is another one."""
        found = (one for one in (self, *self.labelled) if one.key_check == key_check)
        return next(found, None)


PLAIN: Final = Identity(mode="plain", person_key=NationalId.reveal, key_check="")
"""Persons stand in the store under their identifiers."""


def pseudonyms(key: PseudonymKey, environment: str | None) -> Identity:
    """Pseudonyms under a key, with the label of an environment (``api.environment``).

    A key that is used for test and for production gives one person two pseudonyms, which nobody can
    link without it.
    """
    label = environment or _OTHER
    labels = (label, *(name for name in _LABELS if name != label))
    weakness = key.weakness()
    first, *others = (
        Identity(
            mode="pseudonym",
            person_key=labelled.pseudonym,
            key_check=labelled.check_value(),
            weakness=weakness,
        )
        for labelled in map(key.under, labels)
    )
    return msgspec.structs.replace(first, labelled=tuple(others))


def _text(content: bytes) -> str | None:
    """What stands in a file of text, its lines joined; None if it is no text."""
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    text = "".join(text.splitlines()).strip()
    return text if text.replace("\t", "").isprintable() else None


def _decoded(text: str) -> bytes | None:
    """The bytes that hexadecimal or Base64 text stands for; None if it is a phrase."""
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
