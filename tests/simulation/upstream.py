"""HelseID and PTS over a plain dict, inside the simulated world: the sandbox's own handlers.

They check tokens, proofs, nonces and bodies exactly as the sandbox's servers do; only sockets and
time are missing. What was told to whom, whole and delivered, is kept for the model.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import orjson

from tests.simulation.loop import Clock
from tests.simulation.process import HTTP, DiedError, Process, Trace
from worker.errors import TransientError
from worker.ports import HttpResponse
from worker.sandbox.faults import Action, FaultPlan
from worker.sandbox.helseid import HelseId
from worker.sandbox.pts import Pts
from worker.sandbox.restrictions import PRIVACY, SAFETY, Restriction, sample
from worker.sandbox.search import Search
from worker.sandbox.state import SandboxOptions, World
from worker.sandbox.web import Delivery, Request, Response

AREAS = (SAFETY, PRIVACY)
ISSUER = "http://127.0.0.1:8101/helseid"
BASE_URL = "http://127.0.0.1:8102"
HELSEID_S_MAX = 10.0
ON_THE_WAY_S = 15.0
"""A request that may go fetches a token, perhaps, before it is sent."""
PERSONS = 44
"""Identifiers that a seed may use; among them one D-number with its foedselsnummer."""

Rows = dict[str, int]
"""Restrictions of one person's area: key to revision."""

TRUE_ACTIONS = frozenset(
    {
        "", Action.SLOW, Action.EMPTY_LIST, Action.NONCE_EVERY_CALL, Action.NONCE_FOREVER,
        Action.NONCE_WITHOUT_HEADER, Action.EXPIRED_TOKEN, Action.CLOCK_SKEW,
    }
)  # fmt: skip
"""Faults that leave a 200 as it was, and the empty list, which nobody can tell from the truth."""


_SPOILS_A_PART = frozenset(
    {
        Action.OTHER_PERSON, Action.NO_KEY, Action.WRONG_TYPE, Action.LOOP_PAGING,
        Action.WRONG_TOTAL, Action.UNKNOWN_CONTINUATION,
    }
)  # fmt: skip
"""Faults that may leave the records of a page as they are."""


class DictPts(Pts):
    """PTS, answering from a dict."""

    def __init__(self, *args: Any, truth: "dict[str, dict[str, Rows]]") -> None:
        super().__init__(*args)
        self._truth = truth
        self.found: Rows = {}

    def _find(self, area: str, search: Search) -> list[Restriction]:
        rows = self._truth.get(search.off_id, {}).get(area, {})
        self.found = dict(rows)
        return [Restriction(document(area, search.off_id, *row), None) for row in rows.items()]


def document(area: str, off_id: str, key: str, revision: int) -> dict[str, Any]:
    """A restriction as PTS tells it; its revision shows in one column."""
    told = sample(area, off_id) | {"id": key}
    column = "confidentialityCode" if area == SAFETY else "privacyLevel"
    return told | {column: f"R{revision}"}


@dataclass(kw_only=True)
class Network:
    """What the way between worker and services does, as shares of calls.

    Attributes:
        extra_answers: an empty list, which nobody asked for, is taken for the answer; only on a
            connection that has carried a request before.
    """

    lost_requests: float = 0.0
    lost_replies: float = 0.0
    latency_s: float = 0.05
    slow: float = 0.0
    extra_answers: float = 0.0


@dataclass(kw_only=True)
class Connection:
    """A connection of a worker's to PTS, as PTS sees it.

    Attributes:
        requests: how many came on it.
        is_closed: the worker closed it after an answer.
    """

    number: int
    requests: int = 0
    is_closed: bool = False


@dataclass(kw_only=True)
class Answer:
    """An answer about a person-area, as far as it has come.

    Attributes:
        rows: what it held.
        at_s: when its last page came.
        connections: what its pages came on.
    """

    rows: Rows = field(default_factory=dict)
    at_s: float = 0.0
    connections: list[Connection] = field(default_factory=list)

    @property
    def is_alone(self) -> bool:
        """Whether each page came on a connection that carried nothing else."""
        return all(one.requests == 1 and one.is_closed for one in self.connections)


@dataclass(kw_only=True)
class Served:
    """What one process was told: the complete answers of each person-area, in order.

    Attributes:
        passing: what the pages of an answer have told so far.
        complete: those whose pages so far are an answer among ``whole``.
        doubtful: answers with a page that the worker may well refuse.
        refusals: requests that were answered with 401; after two of them a request may go on
            another connection.
        searches: requests that reached PTS.
        hasty: those of them that came within a silence that PTS had asked for.
        silent_since_s, silent_until_s: that silence.
    """

    whole: dict[tuple[str, str], list[Answer]] = field(default_factory=lambda: defaultdict(list))
    passing: dict[tuple[str, str], Answer] = field(default_factory=dict)
    complete: set[tuple[str, str]] = field(default_factory=set)
    doubtful: set[tuple[str, str]] = field(default_factory=set)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    searches: Counter[tuple[str, str]] = field(default_factory=Counter)
    hasty: int = 0
    silent_since_s: float = math.inf
    silent_until_s: float = 0.0

    def ask_for_silence(self, now_s: float, silence_s: float) -> None:
        """PTS asked for silence. Who was on the way to it then may still come."""
        if now_s >= self.silent_until_s:
            self.silent_since_s = now_s
        self.silent_until_s = max(self.silent_until_s, now_s + silence_s)

    def search(self, key: tuple[str, str], now_s: float) -> None:
        """A search reached PTS."""
        self.searches[key] += 1
        self.hasty += self.silent_since_s + ON_THE_WAY_S < now_s < self.silent_until_s


class Upstream:
    """Both services of one simulated world.

    Attributes:
        truth: the world: identifier, area, restriction, revision.
        served: by process number, what it was told.
        silence_s: what PTS asks everybody for at present with ``Retry-After``, if that is known.
        struck: how often each fault struck.
    """

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        trace: Trace,
        *,
        seed: int,
        jwk: Mapping[str, Any],
        **options: Any,
    ) -> None:
        self.truth: dict[str, dict[str, Rows]] = {}
        self.network = Network()
        self.served: dict[int, Served] = defaultdict(Served)
        self.struck: Counter[str] = Counter()
        self.requests = 0
        self.silence_s = 0.0
        self._connections = 0
        self._rng = rng
        self._luck = random.Random(f"extra answers {seed}")
        self._trace = trace
        self.clock = clock
        chosen = SandboxOptions(seed=seed, persons=PERSONS, client_jwks=[jwk], **options)
        self.state = World(chosen, clock=clock.epoch_s)
        self._helseid = HelseId(self.state, ISSUER)
        self._pts = DictPts(
            self.state, self._helseid.reader, self._helseid.registrations, truth=self.truth
        )

    def off_id(self, index: int) -> str:
        """An identifier of this seed."""
        return self.state.people.off_id(index)

    def connect(self) -> Connection:
        """A new connection of some worker's."""
        self._connections += 1
        return Connection(number=self._connections)

    def arm(self, faults: list[dict[str, Any]]) -> None:
        """Put these sandbox faults in force instead of those before."""
        self.state.faults = FaultPlan.of(faults)

    async def call(
        self,
        process: Process,
        request: Request,
        *,
        limit_s: float,
        connection: Connection | None = None,
    ) -> Response:
        """Carry a request there and the answer back.

        Args:
            process: whose request it is.
            request: what is asked.
            limit_s: how long the process waits.
            connection: what it comes on to PTS; none: it is for HelseID.

        Raises:
            TimeoutError: no answer came in time.
            ConnectionError: the connection broke.
        """
        await anyio.lowlevel.checkpoint()
        flavour = process.touch(HTTP, request.path)
        self.requests += 1
        network = self.network
        delay_s = network.latency_s * (0.5 + self._rng.random())
        if self._rng.random() < network.slow:
            delay_s += self._rng.choice((1.0, 7.0, 20.0))
        if flavour == "lost-request" or self._rng.random() < network.lost_requests:
            self.struck["request lost"] += 1
            await self._pause(process, self._rng.choice((0.01, limit_s)))
            raise ConnectionError("the request was lost")
        if flavour == "error":
            self.struck["call failed"] += 1
            raise ConnectionError("the call failed")
        await self._pause(process, delay_s / 2)
        process.touch("arrives", request.path)
        handle = self._pts.handle if connection else self._helseid.handle
        _area, reply, action = handle(request)
        found = self._pts.found
        if connection:
            connection.requests += 1
            self.served[process.number].search(_key_of(request), self.clock.elapsed_s)
        may_be_another = connection and connection.requests > 1 and reply.status == 200
        if may_be_another and self._luck.random() < network.extra_answers:
            self.struck["extra answer"] += 1
            reply, action = replace(reply, body=b"[]", headers=()), Action.EMPTY_LIST
        if action:
            self.struck[action] += 1
        await self._pause(process, min(delay_s / 2 + reply.delay_s, limit_s))
        if delay_s / 2 + reply.delay_s >= limit_s:
            raise TimeoutError
        lost = flavour == "lost-reply" or self._rng.random() < network.lost_replies
        if lost or reply.delivery is not Delivery.COMPLETE:
            self.struck["reply lost"] += lost
            raise ConnectionError("the answer was lost")
        process.touch("answered", f"{reply.status} {len(reply.body)} {action}")
        if connection:
            self._note(process, request, reply, action, found=found, connection=connection)
        return reply

    async def _pause(self, process: Process, seconds: float) -> None:
        await anyio.sleep(seconds)
        if process.dead:
            raise DiedError

    def _note(
        self,
        process: Process,
        request: Request,
        reply: Response,
        action: str,
        *,
        found: Rows,
        connection: Connection,
    ) -> None:
        """Keep what the process was told, if it is the truth (or passes for it), and whole."""
        fields = orjson.loads(request.body)
        key = _key_of(request)
        served = self.served[process.number]
        if self.silence_s and any(name == b"retry-after" for name, _ in reply.headers):
            served.ask_for_silence(self.clock.elapsed_s, self.silence_s)
        served.refusals[key] += reply.status == 401
        if reply.status != 200:
            return
        if action not in TRUE_ACTIONS and not _is_unspoilt(key, reply, action, found):
            served.passing.pop(key, None)
            return
        if not request.query_string and len(fields) == 1:
            served.passing[key] = Answer()
            served.complete.discard(key)
            if not served.whole.get(key):  # a further read is no better than the first
                served.doubtful.discard(key)
        elif key not in served.passing:
            return
        if action not in TRUE_ACTIONS or (action == Action.EMPTY_LIST and self._is_in_pages):
            served.doubtful.add(key)
        told = orjson.loads(reply.body)
        items = told["items"] if isinstance(told, dict) else told
        column = "confidentialityCode" if key[1] == SAFETY else "privacyLevel"
        passing = served.passing[key]
        passing.rows.update({item["id"]: int(item[column][1:]) for item in items})
        passing.at_s = self.clock.elapsed_s
        passing.connections.append(connection)
        is_whole = action == Action.EMPTY_LIST or passing.rows.keys() == found.keys()
        if is_whole and key not in served.complete:  # else: a further page, with nothing new
            served.complete.add(key)
            served.whole[key].append(passing)

    @property
    def _is_in_pages(self) -> bool:
        return self.state.options.paging != "none"

    def date(self) -> bytes:
        """The ``Date`` header."""
        at = self.clock.true_now().replace(microsecond=0)
        return format_datetime(at, usegmt=True).encode()


def _key_of(request: Request) -> tuple[str, str]:
    """The person and the area that are asked for."""
    area = PRIVACY if PRIVACY in request.path else SAFETY
    return orjson.loads(request.body)["offId"], area


def _is_unspoilt(key: tuple[str, str], reply: Response, action: str, found: Rows) -> bool:
    """Whether every record on this page is as it should be, in spite of the fault."""
    if action not in _SPOILS_A_PART:
        return False
    off_id, area = key
    right = [document(area, off_id, *row) for row in found.items()]
    told = orjson.loads(reply.body)
    items = told["items"] if isinstance(told, dict) else told
    return all(item in right for item in items)


class SimTransport:
    """The port ``HttpTransport`` of one process."""

    def __init__(self, upstream: Upstream, process: Process, attempt_s_max: float) -> None:
        self._upstream = upstream
        self._process = process
        self._attempt_s_max = attempt_s_max
        self._idle: list[Connection] = []

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """See ``worker.ports.HttpTransport``."""
        parts = urlsplit(url)
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        sent.append((b"host", parts.netloc.encode()))
        is_new = is_single_use or not self._idle
        connection = self._upstream.connect() if is_new else self._idle.pop()
        request = Request(
            "POST", parts.path, parts.query.encode(), sent, body, connection=connection.number
        )
        try:
            reply = await self._upstream.call(
                self._process, request, limit_s=self._attempt_s_max, connection=connection
            )
        except TimeoutError:
            raise TransientError("no whole answer in time (TimeoutError)") from None
        except ConnectionError:
            raise TransientError("the connection broke (ConnectionError)") from None
        if is_single_use:
            connection.is_closed = True
        else:
            self._idle.append(connection)
        found: dict[str, tuple[str, ...]] = {}
        for name, value in _headers(reply, self._upstream.date()):
            key = name.decode()
            found[key] = (*found.get(key, ()), value.decode())
        return HttpResponse(status=reply.status, headers=found, body=reply.body)


class SimHelseIdTransport(httpx.AsyncBaseTransport):
    """What carries HelseID's client of one process."""

    def __init__(self, upstream: Upstream, process: Process) -> None:
        self._upstream = upstream
        self._process = process

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        sent = [(name.lower(), value) for name, value in request.headers.raw]
        asked = Request(request.method, url.path, url.query, sent, request.content)
        try:
            reply = await self._upstream.call(self._process, asked, limit_s=HELSEID_S_MAX)
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        except ConnectionError:
            raise httpx.ReadError("the connection broke", request=request) from None
        headers = _headers(reply, self._upstream.date())
        stream = httpx.ByteStream(reply.body)
        return httpx.Response(reply.status, headers=headers, stream=stream, request=request)


def _headers(reply: Response, date: bytes) -> list[tuple[bytes, bytes]]:
    kind = [(b"content-type", reply.content_type)] if reply.body else []
    return [*kind, *reply.headers, (b"date", date)]
