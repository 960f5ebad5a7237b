"""Connects to the first address of a host that answers (Happy Eyeballs, RFC 8305)."""

import asyncio
import errno
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

from worker.errors import OpenFilesError

ATTEMPT_DELAY_S: Final = 0.25
"""Delay before the next address is tried in parallel (RFC 8305 §5)."""

_Address: TypeAlias = tuple[socket.AddressFamily, Any]


async def open_socket(host: str, port: int) -> socket.socket:
    """Open a connected, non-blocking socket. The caller sets the timeout.

    Addresses are tried in the resolver's order, alternating between IPv6 and IPv4. The next
    attempt starts when the previous one fails or after ``ATTEMPT_DELAY_S``. The first connection
    wins.

    Raises:
        OSError: no address accepts a connection (``socket.gaierror``: the name does not resolve).
        OpenFilesError: this process may not open another file.
    """
    loop = asyncio.get_running_loop()
    resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = interleaved([(family, address) for family, _, _, _, address in resolved])
    attempts: set[asyncio.Task[socket.socket]] = set()
    try:
        return await _first_of(addresses, attempts)
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise OpenFilesError from None
        raise
    finally:
        for attempt in attempts:
            attempt.cancel()
        for late in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


def interleaved(addresses: Sequence[_Address]) -> list[_Address]:
    """The addresses alternating by family, otherwise in their order (RFC 8305 §4)."""
    families = dict.fromkeys(family for family, _ in addresses)
    columns = [[item for item in addresses if item[0] is family] for family in families]
    return [item for item in chain.from_iterable(zip_longest(*columns)) if item is not None]


async def _first_of(
    addresses: Sequence[_Address], attempts: set[asyncio.Task[socket.socket]]
) -> socket.socket:
    """The first connection. ``attempts`` collects unfinished and unused attempts."""
    error: BaseException = OSError("the name has no address")
    left = list(addresses)
    while left or attempts:
        if left:
            attempts.add(asyncio.create_task(_connect(*left.pop(0))))
        done, _ = await asyncio.wait(
            attempts,
            timeout=ATTEMPT_DELAY_S if left else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for attempt in done:
            attempts.remove(attempt)
            failure = attempt.exception()
            if failure is None:
                return attempt.result()
            error = failure
    raise error


async def _connect(family: socket.AddressFamily, address: Any) -> socket.socket:
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(0)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connected, address)
    except BaseException:
        connected.close()
        raise
    return connected
