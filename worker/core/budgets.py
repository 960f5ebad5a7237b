"""How much one person may cost: the most that is taken in before the area counts as unread.

An ordinary restriction has some 25 values and less than 1 KB. The limits are far above what a
person has, and hold one hostile answer below 64 MiB of memory (``docs/security.md``). The bytes of
an answer are limited by ``TransportOptions.response_bytes_max``, the pages by ``sync.max_pages``.
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final

from worker.core import exact_json
from worker.core.model import Drift
from worker.errors import ContractError, PagingError

VALUES_MAX: Final = 200_000
"""Values, that is fields and elements, in one answer: a byte of JSON can become 60 of memory."""
RECORDS_MAX: Final = 5_000
"""Records of one person and area."""
RECORD_BYTES_MAX: Final = 256 * 1024
"""Bytes of one record as compact JSON: what works on its texts may take a hundred times as many."""
CONTENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one answer once it is compact JSON, all blanks left out."""
RECEIVED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of all answers about one person and area."""
DRIFT_MAX: Final = 100
"""Entries of drift of one person and area."""
LEDGER_DRIFT_MAX: Final = 1_000
"""Entries of drift of one area in the ledger, of all persons and runs."""
_MORE: Final = Drift(field="[]", kind="more_drift")


def check_values(text: bytes | bytearray) -> None:
    """See that an answer has not too many values, before it is parsed.

    Raises:
        ContractError: it may have more than ``VALUES_MAX``; commas in strings count as well.
    """
    if len(text) <= VALUES_MAX:
        return
    if sum(map(text.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise ContractError(f"an answer of more than {VALUES_MAX} values", field="$")


def check_content(compact: bytes) -> None:
    """See that an answer holds no more than ``CONTENT_BYTES_MAX``.

    Raises:
        ContractError: it does.
    """
    if len(compact) > CONTENT_BYTES_MAX:
        raise ContractError(f"an answer of more than {CONTENT_BYTES_MAX} bytes", field="$")


def check_records(items: list[Any], body_bytes: int) -> None:
    """See that there are not too many records, and none of more than ``RECORD_BYTES_MAX``.

    Args:
        items: the elements of the answer's list.
        body_bytes: how large the answer was.

    Raises:
        ContractError: there are.
    """
    if len(items) > RECORDS_MAX:
        raise ContractError(f"more than {RECORDS_MAX} records", field="$")
    if body_bytes <= RECORD_BYTES_MAX:
        return
    for index, item in enumerate(items):
        if len(exact_json.dumps(item)) > RECORD_BYTES_MAX:
            raise ContractError(
                f"a record of more than {RECORD_BYTES_MAX} bytes", field=f"[{index}]"
            )


def check_area(*, records: int, received_bytes: int) -> None:
    """See that a person's area is not too large over all its pages.

    Raises:
        PagingError: it has more than ``RECORDS_MAX`` records or ``RECEIVED_BYTES_MAX`` bytes.
    """
    if records > RECORDS_MAX:
        raise PagingError(f"more than {RECORDS_MAX} records of one person")
    if received_bytes > RECEIVED_BYTES_MAX:
        raise PagingError(f"answers of more than {RECEIVED_BYTES_MAX} bytes about one person")


class DriftBudget:
    """Keeps the first ``DRIFT_MAX`` entries of drift, and counts the rest.

    Attributes:
        left_out: how often something was not kept.
    """

    def __init__(self) -> None:
        self._kept: set[Drift] = set()
        self.left_out = 0

    @property
    def kept(self) -> set[Drift]:
        """What was kept, and ``more_drift`` if that is not all."""
        return self._kept | {_MORE} if self.left_out else self._kept

    def add(self, found: AbstractSet[Drift], left_out: int = 0) -> None:
        """Take more in, of which so much had been left out before."""
        self.left_out += left_out
        if found <= self._kept:
            return
        for one in found - self._kept - {_MORE}:
            if len(self._kept) < DRIFT_MAX:
                self._kept.add(one)
            else:
                self.left_out += 1
