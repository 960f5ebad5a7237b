"""The transport on real sockets, with answers whole and broken."""

import asyncio
import ssl
import threading

import pytest

from tests.support.http.calls import OPTIONS
from tests.support.raw_server import Reply, answer, raw_server, scripted_server
from worker.errors import (
    ConfigurationError,
    TransientError,
)
from worker.http.transport import Transport
from worker.tls import client_context


async def post(url, options=OPTIONS, path="/search"):
    async with Transport(options) as transport:
        return await transport.post(url + path, headers={"DPoP": "proof-1"}, body=b'{"offId":"x"}')


async def test_request_and_answer():
    """The request goes out as given, the answer comes back whole."""
    async with raw_server(answer(b'[{"a":1}]')) as server:
        got = await post(server.url)
    request = server.requests[0]
    assert (request.line, request.body) == ("POST /search HTTP/1.1", b'{"offId":"x"}')
    assert (
        request.headers["dpop"],
        request.headers["user-agent"],
    ) == ("proof-1", "pts-sync-worker")
    assert (got.status, got.body) == (200, b'[{"a":1}]')
    assert got.header("content-type") == "application/json"


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
    [
        "http://pts.example",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
        "127.0.0.1",
        "https://",
    ],
)
async def test_only_https_leaves_the_machine(url):
    """Plain HTTP is for loopback only, and another scheme for nobody."""
    with pytest.raises(ConfigurationError):
        await post(url)


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


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_files_that_cannot_be_used(tmp_path, content):
    """A CA file that is not there, or is none, is named before anything is sent."""
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"tls\.ca_file: .*ca\.pem"):
        client_context(ca_file)


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\0b"], ids=["crlf", "lf", "nul"])
async def test_no_header_breaks_its_line(value):
    """A configured header can add nothing to a request but itself."""
    async with raw_server(answer()) as server, Transport(OPTIONS) as transport:
        with pytest.raises(ConfigurationError, match="line break"):
            await transport.post(server.url, headers={"X-Source": value}, body=b"{}")


async def test_a_kept_connection_that_was_closed():
    """A server may close an idle connection just when we write: that may pass."""
    hang_up = Reply(data=b"", then="close")
    async with raw_server(answer(), hang_up) as server, Transport(OPTIONS) as transport:
        assert (await transport.post(server.url, headers={}, body=b"{}")).status == 200
        with pytest.raises(TransientError, match="closed before a response"):
            await transport.post(server.url, headers={}, body=b"{}")
