"""What of an answer about a person may be stored.

In pseudonym mode no identifier is stored: the person's own becomes the person's key, anybody
else's the key that *they* have in the store, so that rows of one person can be joined, and nobody
can be read off.
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
    """Takes out of one person's records what may not be stored.

    Args:
        person: who was asked for.
        key_of: the key in the store of an identifier; None leaves identifiers in place.
        keep_names: names of those who made or changed a restriction are kept.
    """

    def __init__(
        self, person: Person, key_of: Callable[[NationalId], str] | None, *, keep_names: bool
    ) -> None:
        self._person = person
        self._key_of = key_of
        self._author = None if keep_names else without_name
        self._made: Recogniser | None = None

    def record(self, item: dict[str, Any]) -> dict[str, Any]:
        """A record as it may be stored."""
        cleaned: dict[str, Any] = item
        if self._key_of is not None:
            cleaned = self._recogniser(self._key_of).document(item, self._author)
        elif self._author is not None:
            cleaned = without_names(item)
        return cleaned

    def text(self, text: str) -> str:
        """A text as it may be stored."""
        if self._key_of is None or (len(text) < LENGTH and not text.isdigit()):
            return text
        return self._recogniser(self._key_of).text(text)

    def _recogniser(self, key_of: Callable[[NationalId], str]) -> Recogniser:
        """Made for the first record: most areas have none."""
        if self._made is None:
            own, own_key = self._person.off_id.reveal(), self._person.person_key
            self._made = Recogniser(
                lambda digits: own_key if digits == own else key_of(NationalId(digits)), own=own
            )
        return self._made


class PrivacyRules(Value, frozen=True, kw_only=True):
    """What may be stored of whatever is read.

    Attributes:
        key_of: the key in the store of an identifier; None stores identifiers as they are.
        keep_names: ``privacy.keep_names``.
    """

    key_of: Callable[[NationalId], str] | None = None
    keep_names: bool = False

    def cleaner(self, person: Person) -> Cleaner:
        """The rules applied to one person's records."""
        return Cleaner(person, self.key_of, keep_names=self.keep_names)
