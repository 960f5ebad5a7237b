"""Decodes the content coding of a response body (RFC 9110 §8.4) with bounded memory."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from worker.errors import ContractError, TransientError

_WINDOW_BITS: Final[Mapping[str, int]] = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_INPUT_BYTES: Final = 1024
"""Input per step. zlib copies the rest of a step when a member ends, so steps are short."""


def decoded(
    body: bytes | bytearray, codings: Sequence[str], *, bytes_max: int
) -> bytes | bytearray:
    """Decode a body; return the same object if it has no content coding.

    A gzip body may have several members (RFC 1952 §2.2); all are decoded. The worker requests no
    coding, so a list of codings is refused like an unknown one.

    Args:
        codings: the values of ``Content-Encoding``, one per header line.
        bytes_max: maximum decoded size; decoding stops beyond it.

    Raises:
        TransientError: the body is truncated, damaged or followed by other bytes.
        ContractError: the coding is unknown, or the decoded body is too large.
    """
    coding = codings[0].lower() if len(codings) == 1 else ",".join(codings)
    if not codings or coding == "identity":
        return body
    window_bits = _WINDOW_BITS.get(coding)
    if window_bits is None:
        raise ContractError("the response has a content coding that was not asked for")
    try:
        return _inflated(memoryview(body), window_bits, bytes_max) if body else body
    except zlib.error:
        raise _damaged() from None


def too_large(bytes_max: int) -> ContractError:
    """The error for a body above the limit."""
    return ContractError(f"a response of more than {bytes_max} bytes")


def _inflated(body: memoryview, window_bits: int, bytes_max: int) -> bytearray:
    content = bytearray()
    at = 0
    while at < len(body):
        if at and window_bits == _WINDOW_BITS["deflate"]:
            raise _damaged()  # only gzip has members
        inflater = zlib.decompressobj(window_bits)
        while not inflater.eof:
            step = body[at : at + _INPUT_BYTES]
            if not step:
                raise _damaged()
            content += inflater.decompress(step, bytes_max + 1)
            if len(content) > bytes_max:
                raise too_large(bytes_max)
            at += len(step) - len(inflater.unused_data)
    return content


def _damaged() -> TransientError:
    return TransientError("the response is truncated or cannot be decoded")
