"""Limits on the data of one person-area. Beyond them the area is a failure.

A typical restriction has about 25 values and less than 1 KB. The limits are far above that, and
keep one hostile answer below 64 MiB of memory (``docs/security.md``).
``TransportOptions.response_bytes_max`` limits the bytes of a response.
"""

from typing import Final

from worker.errors import ContractError, PagingError

VALUES_MAX: Final = 200_000
"""Values (fields and elements) in one response: a byte of JSON can become 60 bytes of memory."""
AROUND_MAX: Final = 1_000
"""Fields around the records of one response."""
RECORDS_MAX: Final = 5_000
"""Records of one person and area."""
RECEIVED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes of all responses about one person and area."""
TEXT_MAX: Final = 10_000
"""Characters of one stored text."""
DRIFT_MAX: Final = 100
"""Names of undeclared fields of one page."""
LEDGER_DRIFT_MAX: Final = 1_000
"""Names of undeclared fields of one area in the ledger, over all persons and runs."""


def check_values(text: bytes | bytearray) -> None:
    """Check the number of values of a response before it is parsed.

    Raises:
        ContractError: it may have more than ``VALUES_MAX``; commas in strings count, too.
    """
    if len(text) <= VALUES_MAX:
        return
    if sum(map(text.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise ContractError(f"a response of more than {VALUES_MAX} values", field="$")


def check_area(*, records: int, received_bytes: int) -> None:
    """Check the size of a person's area over all its pages.

    Raises:
        PagingError: it has more than ``RECORDS_MAX`` records or ``RECEIVED_BYTES_MAX`` bytes.
    """
    if records > RECORDS_MAX:
        raise PagingError(f"more than {RECORDS_MAX} records of one person")
    if received_bytes > RECEIVED_BYTES_MAX:
        raise PagingError(f"responses of more than {RECEIVED_BYTES_MAX} bytes about one person")
