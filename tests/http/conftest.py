"""Runs every case that takes ``engine`` on every engine, on asyncio's loop and on uvloop."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import pytest
import uvloop

from worker.ports import HttpTransport
from worker.pts.engines import open_transport
from worker.pts.transport import TransportOptions

Engine: TypeAlias = Callable[[TransportOptions], AbstractAsyncContextManager[HttpTransport]]

ENGINES: Final[Mapping[str, Engine]] = {"fast": open_transport}
"""Opens each engine. A case sees the port and the server's side, nothing of the engine."""

_LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Opens one of the engines."""
    return ENGINES[request.param]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops for the contract, asyncio's for the rest."""
    fixtures = getattr(item, "fixturenames", ())
    return _LOOPS if "engine" in fixtures else {"asyncio": _LOOPS["asyncio"]}
