"""A PostgreSQL in a simulated world: by the world's clock, each call of it is over at once."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy import event

from tests.support.databases import by_our_clock
from worker.ports import Runtime
from worker.store.database import Database, open_database


class _AtOnce:
    """An object of asyncpg's, in the loop of another thread: who calls it waits, with all tasks."""

    def __init__(self, portal: BlockingPortal, real: Any) -> None:
        self._portal = portal
        self._real = real

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        made = method(*args, **options)
        if not inspect.isawaitable(made):
            return self._shown(made)
        return _given(self._shown(self._portal.call(_result_of, made)))

    def _shown(self, made: Any) -> Any:
        is_theirs = type(made).__module__.startswith("asyncpg") and not isinstance(made, tuple)
        return _AtOnce(self._portal, made) if is_theirs else made


async def _result_of(awaitable: Any) -> Any:
    return await awaitable


async def _given(result: Any) -> Any:
    return result


@asynccontextmanager
async def opened_at_once(url: str, runtime: Runtime) -> AsyncIterator[Database]:
    """The database, through the program's own engine.

    One transaction at a time: another one that waited for its locks would wait for ever.
    """
    with start_blocking_portal() as portal:

        def connect(_dialect: Any, _record: Any, _args: Any, parameters: Any) -> None:
            async def creator(*args: Any, **more: Any) -> Any:
                return _AtOnce(portal, portal.call(partial(asyncpg.connect, *args, **more)))

            parameters["async_creator_fn"] = creator

        async with open_database(url, runtime) as database:
            event.listen(database.engine.sync_engine, "do_connect", connect)
            yield replace(by_our_clock(database), gate=anyio.Semaphore(1))
