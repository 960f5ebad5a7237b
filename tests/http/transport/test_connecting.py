"""Finding the server: by IPv6, by a name with several addresses, past a dead one."""

import asyncio
import contextlib
import resource
import socket
import time

import pytest
from msgspec.structs import replace

from tests.support.certificates import server_context
from tests.support.http.calls import OPTIONS, outcome, response
from tests.support.raw_server import scripted_server
from worker.errors import ConfigurationError, TransientError, UnavailableError
from worker.http.transport import Transport

CONNECT_S = 60.0
SOON_S = CONNECT_S / 3


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="NOT TESTED: this machine has no IPv6")


def serve(peer):
    while True:
        peer.request()
        peer.send(response())


@contextlib.contextmanager
def dead(host, port):
    """An address that neither accepts a connection nor refuses one: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield


@contextlib.contextmanager
def beside_a_dead_address(**options):
    """A server on the second address of ``localhost``, and the first one dead at the same port."""
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(scripted_server(serve, name="localhost", **options))
            try:
                stack.enter_context(dead("127.0.0.2", int(server.url.rpartition(":")[2])))
            except OSError:
                continue  # another test has that port there
            yield server
            return
    raise AssertionError("no port was free on both addresses")


def resolve_to(monkeypatch, *addresses):
    """Let the resolver find these addresses for ``localhost``."""

    def getaddrinfo(host, port, **more):
        if host != "localhost":
            return resolver(host, port, **more)
        kind = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        return [(*kind, (address, port)) for address in addresses]

    resolver = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@ipv6
async def test_ipv6(authority, tls_options):
    """An address in brackets is one of IPv6, in the request and in a certificate, too."""
    heads = []

    def script(peer):
        heads.append(peer.link.recv(65536))
        peer.send(response())
        peer.closed_by_client()

    with scripted_server(script, host="::1", tls=server_context(authority, "::1")) as server:
        async with Transport(tls_options) as transport:
            assert await outcome(transport, server.url) == b"[1]"
    named = server.url.removeprefix("https://")
    assert f"\r\nhost: {named}\r\n".encode() in heads[0].lower()


async def test_one_dead_address_of_two(monkeypatch, authority, tls_options):
    """A host with a dead address is reached by the other, soon, and by its name (RFC 8305)."""
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    with beside_a_dead_address(tls=server_context(authority, "localhost")) as server:
        async with Transport(replace(tls_options, attempt_s_max=CONNECT_S)) as transport:
            begin = time.monotonic()
            got = await asyncio.gather(*(outcome(transport, server.url) for _ in range(8)))
            took_s = time.monotonic() - begin
    assert got == [b"[1]"] * 8
    assert took_s < SOON_S


@pytest.mark.parametrize(
    ("host", "said"), [("pts.invalid", "resolved$"), ("api.pts.nhn.no", "known only on Helsenett")]
)
async def test_a_name_without_an_address(monkeypatch, host, said):
    """A name that cannot be resolved is transient: the resolver may be down."""

    def getaddrinfo(*_given, **_named):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with Transport(OPTIONS) as transport:
        with pytest.raises(TransientError, match=said):
            await transport.post(f"https://{host}", headers={}, body=b"{}")


@pytest.mark.parametrize(
    ("certificate", "said"),
    [(("127.0.0.1", 1), "mismatch$"), (("localhost", -1), "certificate has expired")],
)
async def test_a_certificate_of_another_name_or_time(
    monkeypatch, authority, tls_options, certificate, said
):
    """It is compared with the name of the URL, not with the address behind it, and with the day."""
    resolve_to(monkeypatch, "127.0.0.1")
    name, days = certificate
    tls = server_context(authority, name, days=days)
    with scripted_server(serve, name="localhost", tls=tls) as server:
        async with Transport(tls_options) as transport:
            with pytest.raises(UnavailableError, match=said):
                await transport.post(server.url, headers={}, body=b"{}")


async def test_tls_that_never_begins(tls_options):
    """The time of an attempt covers the TLS handshake."""

    def script(peer):
        while not peer.closed_by_client():
            pass  # it listens, and says nothing

    with scripted_server(script) as server:
        async with Transport(replace(tls_options, attempt_s_max=0.5)) as transport:
            begin = time.monotonic()
            url = server.url.replace("http://", "https://")
            assert await outcome(transport, url) is TransientError
    assert time.monotonic() - begin < SOON_S


async def test_too_many_open_files():
    """A limit of this process and no outage: 78 with its name, at once."""
    async with Transport(OPTIONS) as transport:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        try:
            with pytest.raises(ConfigurationError, match="too many open files") as raised:
                await transport.post("http://127.0.0.1:9", headers={}, body=b"{}")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "LimitNOFILE" in raised.value.hint
