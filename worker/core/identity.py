"""Identifiers of persons, as types that do not print, and the keyed pseudonym of one."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, NoReturn

from worker.core.value import Value

KEY_BYTES_MIN: Final = 32
"""The least length of a pseudonym key, in bytes (contract: ``privacy.pseudonym_key_file``)."""


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

    Raises:
        ValueError: the key is shorter than ``KEY_BYTES_MIN`` bytes.
    """

    __slots__ = ("_start",)

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"the pseudonym key holds {len(key)} bytes; at least {KEY_BYTES_MIN}")
        self._start = hmac.new(key, digestmod=hashlib.sha256)

    def pseudonym(self, off_id: NationalId) -> str:
        """HMAC-SHA256 of the identifier's digits under the key, as 64 lower-case hex digits."""
        mac = self._start.copy()
        mac.update(off_id.reveal().encode())
        return mac.hexdigest()

    def check_value(self) -> str:
        """A value that tells this key from another without telling the key (16 hex digits)."""
        mac = self._start.copy()
        mac.update(b"pts-sync-worker key check value")
        return mac.hexdigest()[:16]

    def __repr__(self) -> str:
        return "PseudonymKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pseudonym key is not to be pickled or copied out")


class Identity(Value, frozen=True, kw_only=True):
    """How a person stands in the store.

    Attributes:
        mode: ``pseudonym`` or ``plain``.
        person_key: the key of an identifier.
        key_check: tells one pseudonym key from another; empty in plain mode.
    """

    mode: str
    person_key: Callable[[NationalId], str]
    key_check: str
