"""Limits on the data of one person-area. Beyond them the area is a failure.

A typical restriction has about 25 values and less than 1 KB. The limits are far above that, and
keep one hostile response below 64 MiB of memory (``docs/security.md``).
``TransportOptions.response_bytes_max`` limits the bytes of a response, ``sync.max_pages`` the
pages.
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final

from worker.core import exact_json
from worker.core.model import Drift
from worker.errors import ContractError, PagingError

VALUES_MAX: Final = 200_000
"""Values (fields and elements) in one response: a byte of JSON can become 60 bytes of memory."""
RECORDS_MAX: Final = 5_000
"""Records of one person and area."""
RECORD_BYTES_MAX: Final = 256 * 1024
"""Bytes of one record as compact JSON: processing its texts can take a hundred times as many."""
CONTENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one response as compact JSON."""
RECEIVED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of all responses about one person and area."""
DRIFT_MAX: Final = 100
"""Entries of drift of one person and area."""
LEDGER_DRIFT_MAX: Final = 1_000
"""Drift entries of one area in the ledger, over all persons and runs."""
_MORE: Final = Drift(field="[]", kind="more_drift")


def check_values(text: bytes | bytearray) -> None:
    """Check the number of values of a response before it is parsed.

    Raises:
        ContractError: it may have more than ``VALUES_MAX``; commas in strings count, too.
    """
    if len(text) <= VALUES_MAX:
        return
    if sum(map(text.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise ContractError(f"a response of more than {VALUES_MAX} values", field="$")


def check_content(compact: bytes) -> None:
    """Check the size of a response.

    Raises:
        ContractError: it exceeds ``CONTENT_BYTES_MAX``.
    """
    if len(compact) > CONTENT_BYTES_MAX:
        raise ContractError(f"a response of more than {CONTENT_BYTES_MAX} bytes", field="$")


def check_records(items: list[Any], body_bytes: int) -> None:
    """Check the number and the size of records.

    Raises:
        ContractError: more than ``RECORDS_MAX`` records, or one above ``RECORD_BYTES_MAX``.
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
    """Check the size of a person's area over all its pages.

    Raises:
        PagingError: it has more than ``RECORDS_MAX`` records or ``RECEIVED_BYTES_MAX`` bytes.
    """
    if records > RECORDS_MAX:
        raise PagingError(f"more than {RECORDS_MAX} records of one person")
    if received_bytes > RECEIVED_BYTES_MAX:
        raise PagingError(f"responses of more than {RECEIVED_BYTES_MAX} bytes about one person")


class DriftBudget:
    """Keeps the first ``DRIFT_MAX`` drift entries and counts the rest.

    Attributes:
        left_out: the number of entries not kept.
    """

    def __init__(self) -> None:
        self._kept: set[Drift] = set()
        self.left_out = 0

    @property
    def kept(self) -> set[Drift]:
        """The kept entries, and ``more_drift`` if some were left out."""
        return self._kept | {_MORE} if self.left_out else self._kept

    def add(self, drift: AbstractSet[Drift], left_out: int = 0) -> None:
        """Add entries, and a number of entries already left out."""
        self.left_out += left_out
        if drift <= self._kept:
            return
        for entry in drift - self._kept - {_MORE}:
            if len(self._kept) < DRIFT_MAX:
                self._kept.add(entry)
            else:
                self.left_out += 1
