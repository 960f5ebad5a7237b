"""The engine for high rates: the port ``HttpTransport`` on its own connections.

A request never waits for a connection: if none is idle, a new one is opened.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TypeAlias

from worker.errors import TransientError
from worker.ports import HttpResponse
from worker.pts.batching import RequestBatcher, ResponseBatcher
from worker.pts.happy_eyeballs import open_socket
from worker.pts.http1 import Connection
from worker.pts.transport import (
    IDLE_S_MAX,
    TransportOptions,
    certificate_error,
    header_lines,
    target_of,
    why_unconnected,
)

_Place: TypeAlias = tuple[str, int, bool]
"""Host, port, and whether to use TLS."""


class FastTransport:
    """The port ``HttpTransport``."""

    def __init__(self, options: TransportOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._requests = RequestBatcher(self._loop)
        self._responses = ResponseBatcher(self._loop)
        self._idle: dict[_Place, deque[Connection]] = {}
        self._all: set[Connection] = set()

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """See ``HttpTransport.post``."""
        target = target_of(url)
        head = f"{target.head}{header_lines(headers)}Content-Length: {len(body)}\r\n\r\n"
        place = (target.host, target.port, target.is_tls)
        kept = None if is_single_use else self._take(place)
        connection = kept or await self._connect(place)
        response = await connection.exchange(head.encode("latin-1") + body)
        if connection.is_usable and not is_single_use:
            connection.idle_since_s = self._loop.time()
            self._idle.setdefault(place, deque()).append(connection)
        else:
            self._drop(connection)
        return response

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._idle.clear()

    def _take(self, place: _Place) -> Connection | None:
        """The most recently used idle connection that is still usable."""
        idle = self._idle.get(place)
        oldest_s = self._loop.time() - IDLE_S_MAX
        while idle:
            connection = idle.pop()
            if connection.is_usable and connection.idle_since_s >= oldest_s:
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._all.discard(connection)

    async def _connect(self, place: _Place) -> Connection:
        host, port, is_tls = place
        self._all = {connection for connection in self._all if connection.is_usable}
        options = self._options
        try:
            async with asyncio.timeout(min(options.connect_s_max, options.attempt_s_max)):
                peer = await open_socket(host, port)
                _, connection = await self._loop.create_connection(
                    partial(self._new, peer),
                    sock=peer,
                    ssl=self._context if is_tls else None,
                    server_hostname=host if is_tls else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise certificate_error(error) from None
        except OSError as error:  # a TimeoutError is one
            raise TransientError(why_unconnected(error)) from None
        self._all.add(connection)
        return connection

    def _new(self, peer: socket.socket) -> Connection:
        return Connection(
            self._loop,
            peer,
            self._requests,
            self._responses,
            body_bytes_max=self._options.response_bytes_max,
            silence_s_max=self._options.silence_s_max,
            attempt_s_max=self._options.attempt_s_max,
        )
