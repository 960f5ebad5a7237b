"""Runs every case on uvloop, as the program runs where that is installed.

Where the loop has a part in a case (where connections begin, stand idle and end), it runs on
asyncio's, too, every night.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

import pytest
import uvloop
from msgspec.structs import replace

from tests.support.certificates import Authority, make_authority, server_context
from tests.support.http.calls import OPTIONS
from tests.support.raw_server import ScriptedServer, scripted_server
from worker.http.connection import TransportOptions
from worker.tls import client_context

_LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_OF_THE_LOOP: Final = frozenset({"test_connecting", "test_endings", "test_surplus"})


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
    return _LOOPS if item.path.stem in _OF_THE_LOOP else {"uvloop": _LOOPS["uvloop"]}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave asyncio's loop to the night."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if parameters.get("_asyncio_loop_factory") is asyncio.new_event_loop:
            item.add_marker(pytest.mark.nightly)
