"""Finding the server: by IPv6, by a name with several addresses, past a dead one."""

import asyncio
import contextlib
import socket
import time

import pytest
from msgspec.structs import replace

from tests.support.certificates import server_context
from tests.support.http.calls import OPTIONS, outcome, response
from tests.support.raw_server import scripted_server
from worker.errors import TransientError, UnavailableError
from worker.tls import client_context

CONNECT_S = 30.0
SOON_S = CONNECT_S / 3
PATIENT = replace(OPTIONS, connect_s_max=CONNECT_S)


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def localhost_tls(authority):
    """TLS for a server of that name, and for its clients."""
    tls = server_context(authority, "localhost")
    return tls, client_context(authority.file)


def serve(peer):
    while True:
        peer.request()
        peer.send(response())


@contextlib.contextmanager
def dead(host, port):
    """An address that neither accepts a connection nor refuses one: its queue is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        time.sleep(0.05)
        yield


@contextlib.contextmanager
def beside_a_dead_address(addresses, tls):
    """A server on the second address, and the first one dead at the same port."""
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                scripted_server(serve, host=addresses[1], name="localhost", tls=tls)
            )
            try:
                stack.enter_context(dead(addresses[0], int(server.url.rpartition(":")[2])))
            except OSError:
                continue  # another test has that port there
            yield server
            return
    raise AssertionError("no port was free on both addresses")


def resolve_to(monkeypatch, *hosts):
    """Let the loop's resolver find these addresses for ``localhost``."""

    async def getaddrinfo(host, port, **more):
        if host != "localhost":
            return await resolver(host, port, **more)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in hosts
        ]

    loop = asyncio.get_running_loop()
    resolver = loop.getaddrinfo
    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


@ipv6
async def test_ipv6(engine):
    """An address in brackets is one of IPv6, in the request, too."""
    heads = []

    def script(peer):
        heads.append(peer.link.recv(65536))
        peer.send(response())

    with scripted_server(script, host="::1") as server:
        async with engine(OPTIONS) as transport:
            assert await outcome(transport, server.url) == b"[1]"
    assert (
        f"\r\nHost: {server.url.removeprefix('http://')}\r\n".lower().encode() in heads[0].lower()
    )


@ipv6
async def test_ipv6_in_tls(engine, authority, tls_options):
    """A certificate may be for an address of IPv6."""
    tls = server_context(authority, "::1")
    with scripted_server(serve, host="::1", tls=tls) as server:
        async with engine(tls_options) as transport:
            assert await outcome(transport, server.url) == b"[1]"


ADDRESSES = [
    pytest.param(("127.0.0.2", "127.0.0.1"), id="IPv4"),
    pytest.param(("::1", "127.0.0.1"), id="IPv6 dead", marks=ipv6),
    pytest.param(("127.0.0.1", "::1"), id="IPv4 dead", marks=ipv6),
]


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("addresses", ADDRESSES)
async def test_one_dead_address_of_two(engine, monkeypatch, localhost_tls, addresses, is_tls):
    """A host with a dead address is reached by the other, soon, and by its name (RFC 8305)."""
    resolve_to(monkeypatch, *addresses)
    server_tls, client_tls = localhost_tls if is_tls else (None, None)
    options = replace(PATIENT, tls=client_tls)
    with beside_a_dead_address(addresses, server_tls) as server:
        async with engine(options) as transport:
            begin = time.monotonic()
            calls = (outcome(transport, server.url) for _ in range(8))
            got = await asyncio.gather(*calls)
            took_s = time.monotonic() - begin
    assert got == [b"[1]"] * 8
    assert took_s < SOON_S


async def test_one_closed_address_of_two(engine, monkeypatch):
    """An address that refuses costs no time at all."""
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    with scripted_server(serve, name="localhost") as server:
        async with engine(PATIENT) as transport:
            begin = time.monotonic()
            assert await outcome(transport, server.url) == b"[1]"
    assert time.monotonic() - begin < SOON_S


async def test_the_first_address_is_preferred(engine, monkeypatch):
    """The second address is left alone while the first one answers."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    with scripted_server(serve, name="localhost") as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_server(("127.0.0.2", port)) as other:
            other.settimeout(0.5)
            async with engine(PATIENT) as transport:
                for _ in range(3):
                    assert await outcome(transport, server.url, is_single_use=True) == b"[1]"
            with pytest.raises(TimeoutError):
                other.accept()
    assert server.connections == 3


async def test_dead_addresses_only(engine, monkeypatch):
    """A host that cannot be connected to is transient after the connect time, not later."""
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.3")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        with dead("127.0.0.2", port), dead("127.0.0.3", port):
            async with engine(replace(OPTIONS, connect_s_max=0.6)) as transport:
                begin = time.monotonic()
                got = await outcome(transport, f"http://localhost:{port}")
    assert TransientError is got
    assert 0.5 < time.monotonic() - begin < SOON_S


async def test_a_name_without_an_address(engine):
    """A name that cannot be resolved is transient: the resolver may be down."""
    async with engine(OPTIONS) as transport:
        assert TransientError is await outcome(transport, "https://pts.invalid")


async def test_a_certificate_of_another_name(engine, monkeypatch, authority, tls_options):
    """The certificate is compared with the name of the URL, not with the address behind it."""
    resolve_to(monkeypatch, "127.0.0.1")
    tls = server_context(authority)
    with scripted_server(serve, name="localhost", tls=tls) as server:
        async with engine(tls_options) as transport:
            with pytest.raises(UnavailableError, match=r"localhost|mismatch"):
                await transport.post(server.url, headers={}, body=b"{}")


async def test_tls_that_never_begins(engine, tls_options):
    """The connect time covers the TLS handshake."""

    def script(peer):
        peer.closed_by_client()

    with scripted_server(script) as server:
        async with engine(replace(tls_options, connect_s_max=0.5)) as transport:
            begin = time.monotonic()
            url = server.url.replace("http://", "https://")
            assert TransientError is await outcome(transport, url)
    assert time.monotonic() - begin < SOON_S
