"""What of an answer about a person may be stored.

In pseudonym mode no identifier is stored: the person's own becomes the person's key, anybody
else's the key that *they* have in the store, so that rows of one person can be joined, and nobody
can be read off.
"""

from collections.abc import Callable
from typing import Any, cast

from worker.core.authors import without_name, without_names
from worker.core.identity import NationalId
from worker.core.model import Person
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
        self._keep_names = keep_names
        self._recogniser: Recogniser | None = None
        if key_of is not None:
            own, own_key = person.off_id.reveal(), person.person_key
            self._recogniser = Recogniser(
                lambda digits: own_key if digits == own else key_of(NationalId(digits)), own=own
            )

    def record(self, item: dict[str, Any]) -> dict[str, Any]:
        """A record as it may be stored."""
        if self._recogniser is not None:
            author = None if self._keep_names else without_name
            cleaned: dict[str, Any] = self._recogniser.document(item, author)
            return cleaned
        return item if self._keep_names else cast("dict[str, Any]", without_names(item))

    def text(self, text: str) -> str:
        """A text as it may be stored."""
        return text if self._recogniser is None else self._recogniser.text(text)


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
