"""``/metrics`` of ``schedule``: prometheus-client's server, which answers in threads."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import make_wsgi_app, start_http_server

from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError, reason_of
from worker.telemetry.metrics import Board

_LOCAL: Final = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?", re.IGNORECASE)
"""A ``Host`` that names this machine, and perhaps a port."""
_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@contextmanager
def serve_metrics(board: Board, http_listen: str | None) -> Iterator[str | None]:
    """Serve the board on ``host:port`` inside the ``with`` block. Port 0 is a free port.

    Yields:
        The URL, e.g. ``http://127.0.0.1:9464``; None if ``http_listen`` is None.

    Raises:
        ConfigurationError: cannot listen on the address.
    """
    if http_listen is None:
        yield None
        return
    host, _, port = http_listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        server, thread = start_http_server(int(port), host, board.registry)
    except OSError as error:
        raise ConfigurationError(
            f"telemetry.http_listen: cannot listen on this address ({reason_of(error)})",
            hint="choose another port, e.g. 127.0.0.1:9464",
        ) from error
    address, bound = server.server_address[:2]
    server.RequestHandlerClass = _Handler
    server.set_app(_guarded(make_wsgi_app(board.registry), is_local=is_loopback(str(address))))
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(WSGIRequestHandler):
    timeout = 5.0
    """Seconds that a client may say nothing: each has a thread."""

    def handle(self) -> None:
        with suppress(OSError):  # a client that has gone is no traceback on standard error
            super().handle()

    def log_message(self, *_: object) -> None:
        """Requests are not logged."""


def _guarded(metrics: _Wsgi, *, is_local: bool) -> _Wsgi:
    """Only ``/metrics``, where prometheus-client answers on any path; on loopback, only its names.

    A web page can have its own name lead here (DNS rebinding).
    """

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if is_local and not _LOCAL.fullmatch(environ.get("HTTP_HOST", "localhost")):
            status = "421 Misdirected Request"
        elif environ["PATH_INFO"] != "/metrics":
            status = "404 Not Found"
        else:
            return metrics(environ, start)
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{status}\n".encode()]

    return answer
