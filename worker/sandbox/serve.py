"""A running sandbox: both stand-ins in one process, on two loopback ports."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from worker.sandbox.helseid import HelseId
from worker.sandbox.jose import signing_key
from worker.sandbox.pts import Pts
from worker.sandbox.web import Request, Response, Server, json_response, problem
from worker.sandbox.world import SandboxOptions, World

CONTROL: Final = "/_sandbox/control"
_StandIn: TypeAlias = Callable[[Request], tuple[str, Response, str]]


class RunningSandbox:
    """A running sandbox.

    Attributes:
        options: the options, with ports and addresses filled in.
        helseid: its stand-in for HelseID.
        control_url: where ``control`` can be posted to, as JSON.
    """

    def __init__(self, options: SandboxOptions, at_helseid: Server, at_pts: Server) -> None:
        self.options = options.at_ports(at_helseid.port, at_pts.port)
        self.control_url = f"http://127.0.0.1:{at_pts.port}{CONTROL}"
        self._lock = threading.Lock()
        self._world = World(self.options)
        self.helseid = HelseId(self._world)
        pts = Pts(self._world, self.helseid.tokens)
        for server, handle in ((at_helseid, self.helseid.handle), (at_pts, pts.handle)):
            server.now = self._world.now
            server.answer = partial(self._answer, handle)

    def control(self, **changes: Any) -> dict[str, Any]:
        """Change the running sandbox, as ``World.apply`` does; return settings and counts."""
        with self._lock:
            self._world.apply(changes)
            return self._world.settings()

    def _answer(self, handle: _StandIn, request: Request) -> Response:
        if request.path.startswith("/_sandbox/"):
            return self._control(request)
        with self._lock:
            where, response, fault = handle(request)
            self._world.counts.update((f"requests {where}", f"{where} {response.status}"))
            self._world.counts.update((f"fault {fault}",) if fault else ())
        return response

    def _control(self, request: Request) -> Response:
        """Answer at the control address, which is on both ports: see ``control``."""
        if request.path != CONTROL or request.method not in {"GET", "POST"}:
            return problem(404)
        # Requiring JSON blocks cross-origin forms, which cannot send it.
        if request.method == "POST" and request.media_type != "application/json":
            return problem(415)
        try:
            changes = orjson.loads(request.body) if request.method == "POST" else {}
            return json_response(self.control(**changes))
        except (ValueError, TypeError, OSError) as error:
            return problem(400, errors={"$": [str(error)]})


@contextlib.contextmanager
def running_sandbox(options: SandboxOptions) -> Iterator[RunningSandbox]:
    """Run a sandbox in threads of its own.

    Raises:
        OSError: a port is in use, or the contract cannot be read.
        ValueError: an option is invalid.
    """
    signing_key()  # made now, as it takes most of a second
    with Server(options.helseid_port) as at_helseid, Server(options.pts_port) as at_pts:
        sandbox = RunningSandbox(options, at_helseid, at_pts)
        servers = (at_helseid, at_pts)
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield sandbox
        finally:
            for server in servers:
                server.shutdown()


def serve_forever(options: SandboxOptions, on_ready: Callable[[RunningSandbox], None]) -> None:
    """Run a sandbox until SIGINT or SIGTERM; see ``running_sandbox``."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with running_sandbox(options) as sandbox:
        on_ready(sandbox)
        ended.wait()
