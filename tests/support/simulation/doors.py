"""What a process opens to the outside, replaced by a simulated world."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from typing import Any, NoReturn

import httpx
import structlog

from tests.support.simulation.process import Process
from tests.support.simulation.transports import SimTransport
from worker import app as root
from worker.cli import run_sync
from worker.http.connection import TransportOptions
from worker.ports import Runtime
from worker.sandbox import pts as sandbox_pts
from worker.store.database import Database
from worker.store.runs import run_store as opening
from worker.store.runs.run_store import RunStore
from worker.sync import pipeline
from worker.tls import client_context

_TLS = cache(client_context)
"""Made once a process: nothing in a simulated world speaks TLS."""


@contextmanager
def outside(
    process: Callable[[], Process],
    lend: Callable[[], AbstractAsyncContextManager[Database]],
    transport: Callable[[TransportOptions], SimTransport],
    helseid_http: Callable[[], httpx.AsyncBaseTransport],
) -> Iterator[None]:
    """Replace what is opened to the outside: file, PTS's transport, HelseID's HTTP.

    The store of a run is the real one; it is only told to the process whose run it is.
    """

    def open_database(_url: str, _runtime: Runtime, **_options: Any) -> Any:
        return lend()

    @asynccontextmanager
    async def open_transport(options: TransportOptions, *_more: Any) -> AsyncIterator[SimTransport]:
        yield transport(options)

    def helseid_client(*_options: Any, **_more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=helseid_http(), trust_env=False)

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
