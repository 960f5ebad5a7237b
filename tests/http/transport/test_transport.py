"""The transport on real sockets, with answers whole and broken."""

import asyncio
import ssl
import threading

import pytest

from tests.support.http.calls import OPTIONS
from tests.support.raw_server import answer, raw_server, scripted_server
from worker.errors import ConfigurationError
from worker.http.transport import Transport
from worker.tls import client_context


async def post(url, options=OPTIONS, path="/search"):
    async with Transport(options) as transport:
        return await transport.post(url + path, headers={"DPoP": "proof-1"}, body=b'{"offId":"x"}')


async def test_no_request_waits_in_a_pool():
    """However many requests there are, each goes out before any has its answer."""
    all_are_here = threading.Barrier(40)

    def script(peer):
        peer.request()
        all_are_here.wait(20)
        peer.send(answer().data)

    with scripted_server(script) as server:
        async with Transport(OPTIONS) as transport:
            calls = (transport.post(server.url, headers={}, body=b"{}") for _ in range(40))
            answers = await asyncio.gather(*calls)
    assert ({one.status for one in answers}, server.connections) == ({200}, 40)


async def test_no_connection_outlives_the_transport():
    """An idle one is closed with it: a service that runs for months keeps none."""
    closed = threading.Event()

    def script(peer):
        peer.request()
        peer.send(answer().data)
        if peer.closed_by_client():
            closed.set()

    with scripted_server(script) as server:
        async with Transport(OPTIONS) as transport:
            await transport.post(server.url, headers={}, body=b"{}")
            assert not closed.is_set()
        assert await asyncio.to_thread(closed.wait, 5)


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary"])
async def test_redirects_are_not_followed(status):
    """A redirect is an answer; what it points to never sees the token."""
    async with raw_server() as elsewhere:
        moved = answer(b"", status=status, headers=(f"Location: {elsewhere.url}/x",))
        async with raw_server(moved) as server:
            got = await post(server.url)
    assert (got.status, elsewhere.requests) == (int(status[:3]), [])


@pytest.mark.parametrize(
    "url",
    ["http://pts.example", "http://127.0.0.1.example", "ftp://127.0.0.1", "127.0.0.1", "https://"],
)
async def test_only_https_leaves_the_machine(url):
    """Plain HTTP is for loopback only, and another scheme for nobody."""
    with pytest.raises(ConfigurationError):
        await post(url)


@pytest.mark.promise("8")
@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nX-B: c", "a\rX-B: c", "a\0"])
async def test_no_header_holds_another(value):
    """A line break in a token or a declared value adds no header, and nothing is sent."""
    async with raw_server() as server, Transport(OPTIONS) as transport:
        with pytest.raises(ConfigurationError, match="line break"):
            await transport.post(server.url, headers={"X-A": value}, body=b"{}")
        assert server.requests == []


def test_every_cipher_suite_has_forward_secrecy():
    """No RSA or static key exchange, no SHA-1, RC4 or 3DES; TLS 1.3 first, then AEAD by ECDHE."""
    context = client_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    offered = context.get_ciphers()
    assert {"kx-any", "kx-ecdhe", "kx-dhe"} >= {suite["kea"] for suite in offered}
    assert offered[0]["protocol"] == "TLSv1.3"
    older = [suite for suite in offered if suite["protocol"] != "TLSv1.3"]
    assert (older[0]["kea"], older[0]["aead"]) == ("kx-ecdhe", True)
    assert not [suite["name"] for suite in older if suite["name"].endswith("-SHA")]
    assert all("aes" in suite["symmetric"] or "chacha" in suite["symmetric"] for suite in offered)
