"""Runs every case that takes ``engine`` on every engine.

``make test`` has one combination: the engine that a configuration gets which names none, on uvloop,
as the program runs where that is installed. All others are nightly: the other engine, and asyncio's
loop where the loop has a part in the case: where connections begin, stand idle and end.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Final, TypeAlias

import pytest
import uvloop
from msgspec.structs import replace

from tests.support.certificates import Authority, make_authority, server_context
from tests.support.http.calls import OPTIONS
from tests.support.raw_server import ScriptedServer, scripted_server
from worker.ports import HttpTransport
from worker.pts.engines import open_transport
from worker.pts.transport import TransportOptions
from worker.tls import client_context

Engine: TypeAlias = Callable[[TransportOptions], AbstractAsyncContextManager[HttpTransport]]

ENGINES: Final[Mapping[str, Engine]] = {
    "httpx": partial(open_transport, engine="httpx"),
    "fast": partial(open_transport, engine="fast"),
}
"""Opens each engine. A case sees the port and the server's side, nothing of the engine."""

_LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_USUAL: Final = ("httpx", uvloop.new_event_loop)
"""The combination of ``make test``."""
_OF_THE_LOOP: Final = frozenset({"test_connecting", "test_endings", "test_surplus"})


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """One of the engines."""
    return str(request.param)


@pytest.fixture
def engine(engine_name: str) -> Engine:
    """Opens it."""
    return ENGINES[engine_name]


@pytest.fixture
def tls_options(authority: Authority) -> TransportOptions:
    """Options that trust the test's own authority."""
    return replace(OPTIONS, tls=client_context(authority.file))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private CA."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls_server(
    authority: Authority,
) -> Callable[..., AbstractContextManager[ScriptedServer]]:
    """Opens a scripted server that speaks TLS."""
    return partial(scripted_server, tls=server_context(authority))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops of a case."""
    if "engine" not in getattr(item, "fixturenames", ()):
        return {"asyncio": _LOOPS["asyncio"]}
    return _LOOPS if item.path.stem in _OF_THE_LOOP else {"uvloop": _LOOPS["uvloop"]}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all combinations but the usual one to the night."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        loop = parameters.get("_asyncio_loop_factory")
        if "engine_name" in parameters and (parameters["engine_name"], loop) != _USUAL:
            item.add_marker(pytest.mark.nightly)
