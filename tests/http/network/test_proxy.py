"""``network.proxy_url``: HelseID, PTS and Pushgateway are reached through it alone."""

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from tests.support.certificates import make_authority, server_context
from tests.support.http.reports import NIGHT
from tests.support.program import (
    REQUEST_TIMEOUT_S,
    Ended,
    Installation,
    closed_port,
    environment,
    run,
)
from tests.support.raw_server import answer, raw_server, relay, scripted_server
from tests.support.standin import Standin, off_id_of, person, standin
from worker.config.settings import Telemetry
from worker.errors import ExitCode, LateError, UnavailableError
from worker.http.connecting import Proxy
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.telemetry import emit, ping, samples_of
from worker.tls import client_context

HEAD_BYTES_MAX = 16_384


@dataclass(slots=True, kw_only=True)
class ConnectProxy:
    """A proxy that listens.

    Attributes:
        url: where clients find it.
        routes: the port on loopback of each ``host:port`` that a client may name.
        credentials: ``user:password`` that it wants; empty: none.
        answers: what it says to some ``host:port`` instead of connecting, e.g. ``403 Forbidden``.
        asked: the targets of all requests, in order.
        heads: the requests as they came.
    """

    url: str
    routes: dict[str, int] = field(default_factory=dict)
    credentials: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        """Carry one connection to its end."""
        head = _read_head(client)
        method, _, rest = head.partition(" ")
        target = rest.partition(" ")[0]
        self.asked.append(target)
        self.heads.append(head)
        status = self._status(method, target, head)
        if status != "200 Connection established":
            client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\nrefuse".encode())
            return
        with socket.create_connection(("127.0.0.1", self.routes[target])) as server:
            client.sendall(f"HTTP/1.1 {status}\r\nVia: 1.1 proxy\r\n\r\n".encode())
            relay(client, server)

    def _status(self, method: str, target: str, head: str) -> str:
        wanted = base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"proxy-authorization: basic {wanted}".lower() not in head.lower():
            return "407 Proxy Authentication Required"
        if method != "CONNECT" or target not in {*self.routes, *self.answers}:
            return "403 Forbidden"
        return self.answers.get(target, "200 Connection established")


@contextmanager
def connect_proxy(*, tls: ssl.SSLContext | None = None) -> Iterator[ConnectProxy]:
    """Listen on a free port; with ``tls`` clients speak TLS to the proxy itself."""
    made = ConnectProxy(url="")
    with scripted_server(lambda peer: made.serve(peer.link), tls=tls, name="localhost") as server:
        made.url = server.url
        yield made


def _read_head(client: socket.socket) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        if not data or len(head) > HEAD_BYTES_MAX:
            raise ConnectionError
        head += data
    return head.decode("latin-1")


HELSEID, PTS = "helseid.test:443", "pts.test:8443"
PERSONS = 40
CREDENTIALS = "worker:p:ss @/word"


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """HelseID and PTS under names that nobody resolves, with certificates of a private CA."""

    services: Standin
    ca_file: Path
    server_tls: ssl.SSLContext

    @property
    def routes(self) -> dict[str, int]:
        """Where the proxy finds them."""
        return dict.fromkeys((HELSEID, PTS), self.services.port)

    def sync(
        self, database_url: str, folder: Path, url: str, *, credentials: str = ""
    ) -> tuple[Ended, Installation]:
        """A run through that proxy."""
        worker = self.services.install(folder, database_url)
        network = {"proxy_url": url}
        if credentials:
            file = folder / "proxy-credentials"
            file.write_text(credentials + "\n", encoding="utf-8")
            file.chmod(0o600)
            network["proxy_credentials_file"] = file.name
        worker.configure(tls={"ca_file": str(self.ca_file)}, network=network)
        worker.constants[REQUEST_TIMEOUT_S] = 30.0
        return worker.sync(), worker


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """The stand-in behind TLS; the names are the proxy's to resolve."""
    authority = make_authority(tmp_path_factory.mktemp("authority"))
    context = server_context(authority, "helseid.test", "pts.test", "push.test", "localhost")
    at, helseid = f"https://{PTS}", "https://helseid.test"
    with standin(tls=context, origin=at, helseid_origin=helseid) as made:
        for number in range(PERSONS):
            person(made, number, safeties=1)
        yield Hospital(services=made, ca_file=authority.file, server_tls=context)


@pytest.fixture(params=["http", pytest.param("https", marks=pytest.mark.nightly)])
def forward(hospital: Hospital, request: pytest.FixtureRequest) -> Iterator[ConnectProxy]:
    """A proxy that knows the way; with https it is spoken to over TLS itself."""
    tls = hospital.server_tls if request.param == "https" else None
    with connect_proxy(tls=tls) as made:
        made.routes |= hospital.routes
        yield made


@pytest.mark.promise("8")
def test_a_complete_run(hospital: Hospital, forward: ConnectProxy, sqlite_url: str, tmp_path: Path):
    """HelseID and PTS are reached by CONNECT; TLS ends behind the proxy, which sees no token.

    Its credentials are those of the file, and stand in no output.
    """
    forward.credentials = CREDENTIALS
    ended, worker = hospital.sync(sqlite_url, tmp_path, forward.url, credentials=CREDENTIALS)
    assert ended.code == 0, ended.out + ended.err
    assert ended.run["totals"]["persons_complete"] == PERSONS
    assert set(forward.asked) == {HELSEID, PTS}
    fields = [line.lower() for head in forward.heads for line in head.split("\r\n")]
    assert [line for line in fields if line.startswith(("authorization", "dpop"))] == []
    assert "p:ss" not in ended.out + ended.err
    assert worker.store.ids()


@pytest.mark.parametrize("given", ["", "worker:wrong"])
def test_credentials_that_are_missing_or_wrong(
    hospital: Hospital, sqlite_url: str, tmp_path: Path, given: str
):
    """78, with the proxy's name and the key; a wrong password is not tried again."""
    with connect_proxy() as forward:
        forward.routes |= hospital.routes
        forward.credentials = CREDENTIALS
        ended, _ = hospital.sync(sqlite_url, tmp_path, forward.url, credentials=given)
    assert ended.code == 78, ended.out + ended.err
    assert f"the proxy {forward.url.removeprefix('http://')}" in ended.out
    assert "(status 407)" in ended.out
    assert "network.proxy_credentials_file" in ended.out
    assert len(forward.asked) == 1
    assert "wrong" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("answer", "code"), [("403 Forbidden", 78), ("503 Service Unavailable", 69)]
)
def test_a_proxy_that_forbids_pts(
    hospital: Hospital, sqlite_url: str, tmp_path: Path, answer: str, code: int
):
    """78: nothing but another rule in the proxy helps. One that is overloaded may recover: 69."""
    with connect_proxy() as forward:
        forward.routes |= hospital.routes
        forward.answers[PTS] = answer
        ended, _ = hospital.sync(sqlite_url, tmp_path, forward.url)
    assert ended.code == code, ended.out + ended.err
    assert f"does not allow a connection to PTS (status {answer[:3]})" in ended.out


async def test_a_proxy_whose_certificate_is_not_accepted(hospital: Hospital):
    """It is the proxy's, and not PTS's, that the message names."""
    named = r"the proxy localhost:[0-9]+'s certificate"
    with (
        connect_proxy(tls=hospital.server_tls) as forward,
        pytest.raises(UnavailableError, match=named),
    ):
        await _post("https://pts.test", proxy=Proxy(url=forward.url))


@pytest.mark.promise("3")
async def test_a_proxy_that_grants_and_is_then_silent(hospital: Hospital):
    """The tunnel leads to nobody who speaks TLS: that is late, and never waited for without end."""
    with connect_proxy() as forward, socket.create_server(("127.0.0.1", 0)) as silent:
        forward.routes[PTS] = silent.getsockname()[1]
        options = TransportOptions(server="PTS", attempt_s_max=0.5)
        with pytest.raises(LateError, match="no connection in time"):
            await _post(f"https://{PTS}", options, proxy=Proxy(url=forward.url))
    assert forward.asked == [PTS]


async def test_this_very_machine_is_reached_without_the_proxy():
    """Loopback addresses are, whatever is configured."""
    gone = Proxy(url=f"http://127.0.0.1:{closed_port()}")
    async with raw_server(answer()) as server:
        assert await _post(server.url, proxy=gone) == 200


async def _post(
    url: str, options: TransportOptions | None = None, *, proxy: Proxy | None = None
) -> int:
    async with Transport(options or TransportOptions(), proxy) as transport:
        return (await transport.post(url, headers={}, body=b"{}")).status


async def _send(to: Telemetry, options: TransportOptions, proxy: Proxy) -> None:
    await emit(samples_of(NIGHT, None), to, lambda _server: Transport(options, proxy))
    await ping(to, lambda _server: Transport(options, proxy), ExitCode.OK)


@pytest.mark.parametrize("target", ["pushgateway_url", "ping_url"])
async def test_telemetry(hospital: Hospital, forward: ConnectProxy, target: str):
    """Each target is reached through the proxy, with its credentials and the private CA."""
    forward.credentials = CREDENTIALS
    async with raw_server(tls=hospital.server_tls) as server:
        forward.routes["push.test:443"] = int(server.url.rpartition(":")[2])
        options = TransportOptions(tls=client_context(hospital.ca_file))
        proxy = Proxy(url=forward.url, credentials=CREDENTIALS)
        with structlog.testing.capture_logs() as logs:
            to = Telemetry.model_validate({target: "https://push.test"})
            await _send(to, options, proxy)
    assert logs == []
    assert server.requests
    assert set(forward.asked) == {"push.test:443"}


@pytest.mark.promise("8")
def test_nothing_is_taken_from_the_environment(tmp_path: Path, sqlite_url: str):
    """A trap that every variable names is not asked by anybody, nor are session keys written."""
    with standin() as upstream, socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}"
        worker = upstream.install(tmp_path, sqlite_url)
        worker.roster(*(off_id_of(number) for number in range(5)))
        worker.configure(
            telemetry={
                "pushgateway_url": f"{upstream.origin}/pushed",
                "ping_url": f"{upstream.origin}/pushed",
            }
        )
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        env = environment(
            **dict.fromkeys(names, url),
            NO_PROXY="",
            SSL_CERT_FILE=str(tmp_path / "no-such-file.pem"),
            REQUESTS_CA_BUNDLE=str(tmp_path / "no-such-file.pem"),
            CURL_CA_BUNDLE=str(tmp_path / "no-such-file.pem"),
            SSLKEYLOGFILE=str(tmp_path / "session-keys"),
        )
        words = ("--config", str(worker.config), "sync", "--json")
        ended = run(*words, folder=tmp_path, env=env, afresh=True)
        assert ended.code == 0, ended.out + ended.err
        assert "telemetry.failed" not in ended.err
        assert len(upstream.pushed) > 1
        with pytest.raises(BlockingIOError):
            trap.accept()
    assert not (tmp_path / "session-keys").exists()


@pytest.mark.promise("8")
async def test_nobody_is_trusted_because_of_the_environment(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A CA in SSL_CERT_FILE is not trusted: setting a variable would expose every person."""
    monkeypatch.setenv("SSL_CERT_FILE", str(hospital.ca_file))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "session-keys"))
    async with raw_server(answer(), tls=hospital.server_tls, host="localhost") as server:
        with pytest.raises(UnavailableError, match="certificate is not accepted"):
            await _post(server.url)
        trusted = TransportOptions(tls=client_context(hospital.ca_file))
        assert await _post(server.url, trusted) == 200
    assert not (tmp_path / "session-keys").exists()
