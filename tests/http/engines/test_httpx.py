"""What the engine ``httpx`` has beside the contract of all engines."""

from typing import ClassVar

import pytest
from msgspec.structs import replace

from tests.support.http.calls import OPTIONS
from tests.support.raw_server import answer, raw_server
from worker.errors import ConfigurationError, ContractError
from worker.pts.engines import open_transport
from worker.pts.response_parser import ResponseParser


class Forgetful(ResponseParser):
    """Reads another body or another status than was sent."""

    changes: ClassVar[dict[str, object]] = {}

    def feed(self, data):
        response = super().feed(data)
        return response and replace(response, **self.changes)


@pytest.mark.parametrize("changes", [{"body": b"[]"}, {"body": b""}, {"status": 204}])
async def test_they_must_agree(monkeypatch, changes):
    """Two parsers that share no code read each response; what they read otherwise is refused."""
    monkeypatch.setattr(Forgetful, "changes", changes)
    async with raw_server(answer(b"[1]")) as server, open_transport(OPTIONS) as transport:
        assert (await transport.post(server.url, headers={}, body=b"{}")).body == b"[1]"
        monkeypatch.setattr("worker.pts.httpx_stream.ResponseParser", Forgetful)
        with pytest.raises(ContractError, match="ambiguous"):
            await transport.post(server.url, headers={}, body=b"{}")


async def test_a_header_that_h11_does_not_send():
    """A configured name that is no token (RFC 9110 §5.1) is an error of the configuration."""
    async with raw_server() as server, open_transport(OPTIONS) as transport:
        with pytest.raises(ConfigurationError, match="header"):
            await transport.post(server.url, headers={"X Source": "a"}, body=b"{}")
    assert not server.requests
