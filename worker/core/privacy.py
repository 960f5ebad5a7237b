"""Removes from a response what must not be stored.

In pseudonym mode every identifier, also of other persons, is replaced by that person's key in the
store, so that rows can be joined without revealing an identifier.
"""

from collections.abc import Callable
from typing import Any

from worker.core.authors import without_name, without_names
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.offid import LENGTH
from worker.core.recogniser import Recogniser
from worker.core.value import Value


class Cleaner:
    """Removes from one person's records what must not be stored.

    Args:
        key_of: maps an identifier to its key in the store; None keeps identifiers.
        keep_names: keep the names of authors.
    """

    def __init__(
        self, person: Person, key_of: Callable[[NationalId], str] | None, *, keep_names: bool
    ) -> None:
        self._person = person
        self._key_of = key_of
        self._author = None if keep_names else without_name
        self._made: Recogniser | None = None

    def record(self, item: dict[str, Any]) -> dict[str, Any]:
        """Clean a record."""
        cleaned: dict[str, Any] = item
        if self._key_of is not None:
            cleaned = self._recogniser(self._key_of).document(item, self._author)
        elif self._author is not None:
            cleaned = without_names(item)
        return cleaned

    def text(self, text: str) -> str:
        """Clean a text."""
        if self._key_of is None or (len(text) < LENGTH and not text.isdigit()):
            return text
        return self._recogniser(self._key_of).text(text)

    def _recogniser(self, key_of: Callable[[NationalId], str]) -> Recogniser:
        """Created for the first record, because most areas have none."""
        if self._made is None:
            own, own_key = self._person.off_id.reveal(), self._person.person_key
            self._made = Recogniser(
                lambda digits: own_key if digits == own else key_of(NationalId(digits)), own=own
            )
        return self._made


class PrivacyRules(Value, frozen=True, kw_only=True):
    """What may be stored.

    Attributes:
        key_of: maps an identifier to its key in the store; None stores identifiers.
        keep_names: ``privacy.keep_names``.
    """

    key_of: Callable[[NationalId], str] | None = None
    keep_names: bool = False

    def cleaner(self, person: Person) -> Cleaner:
        """A cleaner for one person's records."""
        return Cleaner(person, self.key_of, keep_names=self.keep_names)
