"""The worker's ways out, in a simulated world: to PTS and to HelseID."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from tests.support.simulation.process import Process
from tests.support.simulation.served import Connection
from tests.support.simulation.upstream import HELSEID_S_MAX, Upstream
from worker.errors import LateError, TransientError
from worker.http.response import HttpResponse
from worker.sandbox.web import Request, Response


class SimTransport:
    """What carries the calls of one process to PTS."""

    def __init__(self, upstream: Upstream, process: Process, attempt_s_max: float) -> None:
        self._upstream = upstream
        self._process = process
        self._attempt_s_max = attempt_s_max
        self._idle: list[Connection] = []

    def idle(self, _url: str) -> Connection | None:
        """See ``Transport.idle``."""
        while self._idle:
            if (connection := self._idle.pop()).is_clean():
                return connection
        return None

    async def connect(self, _url: str, *, is_single_use: bool = False) -> Connection:
        """See ``Transport.connect``."""
        limit_s = self._attempt_s_max
        try:
            return await self._upstream.connect(limit_s=limit_s, is_single_use=is_single_use)
        except TimeoutError:
            raise LateError("no connection in time") from None

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, connection: Connection
    ) -> HttpResponse:
        """See ``Transport.post``."""
        parts = urlsplit(url)
        sent = [(name.lower(), value) for name, value in headers.items()]
        sent.append(("host", parts.netloc))
        request = Request("POST", parts.path, parts.query, sent, body)
        try:
            reply = await self._upstream.call(
                self._process, request, limit_s=self._attempt_s_max, connection=connection
            )
        except TimeoutError:
            raise LateError("no complete response in time") from None
        except ConnectionError:
            raise TransientError("the connection broke (ConnectionError)") from None
        if connection.is_single_use:
            connection.close()
        else:
            self._idle.append(connection)
        found = {name: (value,) for name, value in _headers(reply, self._upstream.date()).items()}
        return HttpResponse(status=reply.status, headers=found, body=reply.body)


class SimHelseIdTransport(httpx.AsyncBaseTransport):
    """What carries HelseID's client of one process."""

    def __init__(self, upstream: Upstream, process: Process) -> None:
        self._upstream = upstream
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        sent = request.headers.multi_items()
        asked = Request(request.method, url.path, url.query.decode(), sent, request.content)
        try:
            reply = await self._upstream.call(self._process, asked, limit_s=HELSEID_S_MAX)
        except TimeoutError:
            raise LateError("no complete response in time") from None
        except ConnectionError:
            raise TransientError("the connection broke (ConnectionError)") from None
        headers = _headers(reply, self._upstream.date())
        stream = httpx.ByteStream(reply.body)
        return httpx.Response(reply.status, headers=headers, stream=stream, request=request)


def _headers(reply: Response, date: str) -> dict[str, str]:
    kind = {"content-type": reply.media_type} if reply.body else {}
    return {**kind, **reply.headers, "date": date}
