"""What a process opens to the outside, replaced by a simulated world."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
import structlog

from tests.support.simulation.postgres import opened_at_once
from tests.support.simulation.process import Process, opened
from tests.support.simulation.served import Connection
from tests.support.simulation.upstream import HELSEID_S_MAX, Upstream
from worker import app as root
from worker.cli import run_sync
from worker.errors import LateError, TransientError
from worker.http.budget import ByteBudget, Share
from worker.http.connection import TransportOptions
from worker.http.response import HttpResponse
from worker.ports import Runtime
from worker.sandbox import pts as sandbox_pts
from worker.sandbox.web import Request, Response
from worker.store.runs import run_store as opening
from worker.store.runs.run_store import RunStore
from worker.sync import pipeline
from worker.tls import client_context

_TLS = cache(client_context)
"""Made once a process: nothing in a simulated world speaks TLS."""


class SimTransport:
    """What carries the calls of one process to PTS."""

    def __init__(self, upstream: Upstream, process: Process, attempt_s_max: float) -> None:
        self._upstream = upstream
        self._process = process
        self._attempt_s_max = attempt_s_max
        self._idle: list[Connection] = []
        self.budget = ByteBudget()

    def idle(self, _url: str) -> Connection | None:
        """See ``Transport.idle``."""
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        return None

    async def connect(self, _url: str, *, is_single_use: bool = False) -> Connection:
        """See ``Transport.connect``."""
        limit_s = self._attempt_s_max
        try:
            return await self._upstream.connect(limit_s=limit_s, is_single_use=is_single_use)
        except TimeoutError:
            raise LateError("no connection in time") from None

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        connection: Connection,
        share: Share,
    ) -> HttpResponse:
        """See ``Transport.post``."""
        parts = urlsplit(url)
        sent = [(name.lower(), value) for name, value in headers.items()]
        sent.append(("host", parts.netloc))
        request = Request("POST", parts.path, parts.query, sent, body)
        try:
            reply = await self._upstream.call(
                self._process, request, limit_s=self._attempt_s_max, connection=connection
            )
        except TimeoutError:
            raise LateError("no complete response in time") from None
        except ConnectionError:
            raise TransientError("the connection broke (ConnectionError)") from None
        if connection.is_single_use:
            connection.close()
        else:
            self._idle.append(connection)
        found = {name: (value,) for name, value in _headers(reply, self._upstream.date()).items()}
        return HttpResponse(status=reply.status, headers=found, body=reply.body)


class SimHelseIdTransport(httpx.AsyncBaseTransport):
    """What carries HelseID's client of one process."""

    def __init__(self, upstream: Upstream, process: Process) -> None:
        self._upstream = upstream
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        sent = request.headers.multi_items()
        asked = Request(request.method, url.path, url.query.decode(), sent, request.content)
        try:
            reply = await self._upstream.call(self._process, asked, limit_s=HELSEID_S_MAX)
        except TimeoutError:
            raise LateError("no complete response in time") from None
        except ConnectionError:
            raise TransientError("the connection broke (ConnectionError)") from None
        headers = _headers(reply, self._upstream.date())
        stream = httpx.ByteStream(reply.body)
        return httpx.Response(reply.status, headers=headers, stream=stream, request=request)


def _headers(reply: Response, date: str) -> dict[str, str]:
    kind = {"content-type": reply.media_type} if reply.body else {}
    return {**kind, **reply.headers, "date": date}


@contextmanager
def outside(
    process: Callable[[], Process], place: Path | str, upstream: Upstream
) -> Iterator[None]:
    """Replace what is opened to the outside: database, PTS's transport, HelseID's HTTP.

    The store of a run is the real one; it is only told to the process whose run it is.
    """

    def open_database(_url: str, _runtime: Runtime, **_options: Any) -> Any:
        if isinstance(place, str):
            return opened_at_once(place, process().runtime())
        return opened(process(), place)

    @asynccontextmanager
    async def open_transport(options: TransportOptions, *_more: Any) -> AsyncIterator[SimTransport]:
        yield SimTransport(upstream, process(), options.attempt_s_max)

    def helseid_client(*_options: Any, **_more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=SimHelseIdTransport(upstream, process()), trust_env=False
        )

    async def open_run_store(*args: Any, **options: Any) -> RunStore:
        store = await opening.open_run_store(*args, **options)
        process().began(store.handle.run_id)
        return store

    doors = [
        (root, "open_database", open_database),
        (root, "Transport", open_transport),
        (root, "helseid_client", helseid_client),
        (root, "client_context", _TLS),
        (run_sync, "open_run_store", open_run_store),
        (
            sandbox_pts,
            "is_synthetic",
            lambda _off_id: True,
        ),  # H-numbers are not, and nobody real is here
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in doors]
    before.append((pipeline, "BATCH_PERSONS", pipeline.BATCH_PERSONS))  # a stage sets it
    logging_before = structlog.get_config()
    pool_log = logging.getLogger("sqlalchemy.pool")
    level_before = pool_log.level
    for module, name, door in doors:
        setattr(module, name, door)
    structlog.configure(processors=[_drop])
    pool_log.setLevel(logging.CRITICAL + 1)  # it tells of what is injected
    try:
        yield
    finally:
        pool_log.setLevel(level_before)
        structlog.configure(**logging_before)
        for module, name, door in before:
            setattr(module, name, door)


def _drop(*_event: Any) -> NoReturn:
    """Log nothing: a simulated night has thousands of lines to tell."""
    raise structlog.DropEvent
