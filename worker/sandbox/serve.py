"""The sandbox server: both stand-ins in one process, on two loopback ports."""

import asyncio
import contextlib
import ipaddress
import itertools
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import anyio
import uvicorn
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from joserfc.jwk import ECKey
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from worker.sandbox.control import PREFIX, Control
from worker.sandbox.helseid import HelseId
from worker.sandbox.pts import Pts
from worker.sandbox.state import SandboxOptions, World
from worker.sandbox.tokens import signer
from worker.sandbox.web import (
    BODY_BYTES_MAX,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    deliver,
    problem,
    read_request,
)

__all__ = ["RunningSandbox", "SandboxOptions", "bind", "running_sandbox", "serve_forever"]

_T = TypeVar("_T")
_KEEP_ALIVE_S: Final = 75
_LOOP: Final = {"use_uvloop": sys.platform != "win32"}


class _Application:
    """The ASGI application on both ports; the port selects the stand-in."""

    def __init__(self, world: World, issuer: str, pts_port: int) -> None:
        self.world = world
        self.helseid = HelseId(world, issuer)
        self._pts_port = pts_port
        self._pts = Pts(world, self.helseid.reader)
        self._control = Control(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await read_request(scope, receive)
        if request is not None and request.path.startswith(PREFIX):
            await deliver(self._control.handle(request), scope, receive, send)
            return
        where, response, fault = "elsewhere", Response(500), ""
        try:
            if request is None:
                response = problem(413, f"Content Too Large: at most {BODY_BYTES_MAX} bytes")
            else:
                where, response, fault = self._dispatch(request, scope["server"][1])
            await deliver(response, scope, receive, send)
        finally:
            self.world.ledger.end(where, response.status, fault=fault)

    def _dispatch(self, request: Request, port: int) -> tuple[str, Response, str]:
        is_pts = port == self._pts_port
        options = self.world.options
        public = options.public_pts_url if is_pts else options.public_helseid_url
        if public:
            request = replace(request, origin=public.rstrip("/"))
        if is_pts:
            return self._pts.handle(request)
        return self.helseid.handle(request)


class _Server(uvicorn.Server):
    """Uvicorn with a startup callback and without signal handlers."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to ``serve_forever``: uvicorn would raise them again on exit."""
        yield


def _protocol() -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, which exposes the transport for faults of the connection."""
    numbers = itertools.count(1)

    class Protocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.app_state = {"transport": transport, "connection": next(numbers)}
            super().connection_made(transport)  # type: ignore[arg-type]

    return Protocol


class RunningSandbox:
    """A running sandbox.

    Attributes:
        options: the options, with ports and keys filled in.
        base_url: PTS's base URL, without a trailing slash.
        client_private_jwk: its private key, if the sandbox created it; else None.
        portal: to the event loop of another thread in which it runs, if it does.
    """

    def __init__(
        self, options: SandboxOptions, sockets: Sequence[socket.socket], private_jwk: Any
    ) -> None:
        self._sockets = list(sockets)
        helseid_port, pts_port = (s.getsockname()[1] for s in sockets)
        self.options = replace(options, helseid_port=helseid_port, pts_port=pts_port)
        self.issuer = self.options.issuer
        self.base_url = self.options.pts_url
        self.control_url = f"{replace(self.options, public_pts_url='').pts_url}{PREFIX}"
        self.client_id = options.client_id
        self.client_private_jwk: dict[str, Any] | None = private_jwk
        self._world = World(self.options)
        self._application = _Application(self._world, self.issuer, pts_port)
        self.portal: BlockingPortal | None = None
        self._server: _Server | None = None

    def control(self, **changes: Any) -> dict[str, Any]:
        """Change the running sandbox (see ``World.apply``) and return the settings.

        Raises:
            ValueError: an unknown key or an invalid value; nothing was changed.
        """

        def change() -> dict[str, Any]:
            self._world.apply(changes)
            return self._world.settings()

        return self._in_loop(change)

    def stats(self) -> dict[str, Any]:
        """Counters since the start or the last ``clear``."""
        return self._in_loop(self._world.ledger.stats)

    def subject_token(self, subject: str = "sandbox-user", *, lifetime_s: int = 600) -> str:
        """A subject token for ``token_exchange``."""
        return self._in_loop(
            lambda: self._application.helseid.mint_subject_token(subject, lifetime_s=lifetime_s)
        )

    async def run(self, on_started: Callable[[], None]) -> None:
        """Serve until ``stop``."""
        config = uvicorn.Config(
            self._application,
            http=_protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config, on_started)
        await self._server.serve(sockets=self._sockets)

    def stop(self) -> None:
        """Stop ``run``. Thread-safe."""
        if self._server is not None:
            self._server.should_exit = True

    def _in_loop(self, act: Callable[[], _T]) -> _T:
        """Run a function in the server's event loop, so it cannot interleave with a request."""
        return act() if self.portal is None else self.portal.call(act)


def bind(options: SandboxOptions) -> tuple[socket.socket, socket.socket]:
    """Bind the ports of HelseID and PTS; 0 is any free port.

    Raises:
        OSError: a port cannot be used; ``filename`` names it.
        ValueError: the host is not a loopback address.
    """
    address = ipaddress.ip_address(options.host)
    if not address.is_loopback:
        raise ValueError("the sandbox serves loopback addresses only")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
    with contextlib.ExitStack() as stack:
        sockets = []
        for port in (options.helseid_port, options.pts_port):
            opened = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                opened.bind((options.host, port))
            except OSError as error:
                raise OSError(error.errno, error.strerror, f"port {port}") from None
            sockets.append(opened)
        stack.pop_all()
    return sockets[0], sockets[1]


def new_key_pair() -> tuple[dict[str, Any], dict[str, Any]]:
    """A new EC P-256 key pair as (private JWK, public JWK)."""
    key = ECKey.generate_key("P-256", private=True)
    names = {"kid": key.thumbprint(), "alg": "ES256"}
    return {**key.as_dict(private=True), **names}, {**key.as_dict(private=False), **names}


def _prepare(options: SandboxOptions) -> RunningSandbox:
    """Bind the ports, and create a key pair if no key is registered.

    Raises:
        OSError: a port is in use.
        ValueError: an option is invalid.
    """
    signer()  # generates the signing key now, as it takes most of a second
    private_jwk = None
    if not options.client_jwks:
        private_jwk, public_jwk = new_key_pair()
        options = replace(options, client_jwks=[public_jwk])
    sockets = bind(options)
    try:
        return RunningSandbox(options, sockets, private_jwk)
    except ValueError:
        for opened in sockets:
            opened.close()
        raise


@contextlib.contextmanager
def running_sandbox(
    options: SandboxOptions | None = None, **settings: Any
) -> Iterator[RunningSandbox]:
    """Run a sandbox in a separate thread, for tests.

    Args:
        settings: override options by name: ``with running_sandbox(persons=50) as sandbox:``.

    Raises:
        OSError: a port is in use.
        ValueError: an option is invalid.
    """
    sandbox = _prepare(replace(options or SandboxOptions(), **settings))

    async def serve(*, task_status: TaskStatus[None]) -> None:
        await sandbox.run(task_status.started)

    with start_blocking_portal(backend_options=_LOOP, name="sandbox") as portal:
        portal.start_task(serve)
        sandbox.portal = portal
        try:
            yield sandbox
        finally:
            sandbox.portal = None
            sandbox.stop()


def serve_forever(options: SandboxOptions, on_ready: Callable[[RunningSandbox], None]) -> None:
    """Run a sandbox until SIGINT or SIGTERM.

    Raises:
        OSError: a port is in use.
        ValueError: an option is invalid.
    """
    sandbox = _prepare(options)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, sandbox.stop)
        await sandbox.run(lambda: on_ready(sandbox))

    anyio.run(serve, backend_options=_LOOP)
