"""HelseID and PTS over a plain dict, inside the simulated world: the sandbox's own handlers.

They check tokens, proofs, nonces and bodies exactly as the sandbox's servers do; only sockets and
time are missing. Complete answers that were delivered are kept for the model, by process.
"""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

import anyio
import msgspec

from tests.support.model.values import PRIVACY, SAFETY
from tests.support.simulation.loop import Clock
from tests.support.simulation.process import HTTP, DiedError, Process, Trace
from tests.support.simulation.served import Answer, Connection, Rows, Served
from worker.sandbox.clients import Client
from worker.sandbox.contract import Renderer
from worker.sandbox.helseid import HelseId
from worker.sandbox.people import Restriction, population, sample
from worker.sandbox.pts import Pts, continuation_of
from worker.sandbox.web import Request, Response
from worker.sandbox.world import RECORDS, Action, SandboxOptions, World

ISSUER = "http://127.0.0.1:8101/helseid"
BASE_URL = "http://127.0.0.1:8102"
HELSEID_S_MAX = 10.0
PERSONS = 44
"""Identifiers that a seed may use; among them one D-number with its foedselsnummer."""

TRUE_ACTIONS = frozenset(
    {"", Action.SLOW, Action.EMPTY_LIST, Action.EXPIRED_TOKEN, Action.CLOCK_SKEW}
)
"""Faults that leave a 200 as it was, and the empty list, which looks like the truth."""


class DictPts(Pts):
    """PTS, answering from a dict."""

    def __init__(self, *args: Any, truth: "dict[str, dict[str, Rows]]") -> None:
        super().__init__(*args)
        self._truth = truth
        self.found: Rows = {}

    def _find(self, area: str, off_id: str) -> list[Restriction]:
        rows = self._truth.get(off_id, {}).get(area, {})
        self.found = dict(rows)
        return [restriction(area, off_id, *row) for row in rows.items()]


def restriction(area: str, off_id: str, key: str, revision: int) -> Restriction:
    """A restriction; its revision shows in one column."""
    column = "confidentiality_code" if area == SAFETY else "privacy_level"
    spare = sample(area, off_id)
    return spare._replace(id=key, values=spare.values | {column: f"R{revision}"})


@dataclass(kw_only=True)
class Network:
    """What the way between worker and services does, as shares of calls."""

    lost_requests: float = 0.0
    lost_replies: float = 0.0
    latency_s: float = 0.05
    slow: float = 0.0


class Upstream:
    """Both services of one simulated world.

    Attributes:
        truth: the world: identifier, area, restriction, revision.
        served: by process number, what it was answered.
        struck: how often each fault struck.
        opens_at_s: no connection to PTS is opened before.
    """

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        trace: Trace,
        *,
        seed: int,
        jwk: dict[str, Any],
        **options: Any,
    ) -> None:
        self.truth: dict[str, dict[str, Rows]] = {}
        self.network = Network()
        self.served: dict[int, Served] = defaultdict(Served)
        self.struck: Counter[str] = Counter()
        self.requests = 0
        self.opens_at_s = 0.0
        self._connections = 0
        self._rng = rng
        self._trace = trace
        self.clock = clock
        chosen = SandboxOptions(
            seed=seed,
            persons=PERSONS,
            issuer=ISSUER,
            pts_url=BASE_URL,
            clients=[Client(jwks=[jwk])],
            **options,
        )
        self.state = World(chosen, clock=clock.epoch_s)
        self._off_ids = [*self.state.people]
        self._helseid = HelseId(self.state)
        self._pts = DictPts(self.state, self._helseid.tokens, truth=self.truth)

    def off_id(self, index: int) -> str:
        """An identifier of this seed."""
        if index >= len(self._off_ids):
            self._off_ids = [*population(self.state.options.seed, 2 * index)]
        return self._off_ids[index]

    async def connect(self, *, limit_s: float, is_single_use: bool) -> Connection:
        """A new connection of some worker's.

        Raises:
            TimeoutError: it was not opened in time.
        """
        wait_s = self.opens_at_s - self.clock.elapsed_s
        if wait_s > 0:
            await anyio.sleep(min(wait_s, limit_s))
        if wait_s > limit_s:
            raise TimeoutError
        self._connections += 1
        return Connection(number=self._connections, is_single_use=is_single_use)

    def arm(self, faults: list[dict[str, Any]]) -> None:
        """Put these sandbox faults in force instead of those before."""
        self.state.apply({"faults": faults})

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
            served, key = self.served[process.number], _key_of(request)
            served.searches[key] += 1
            self._ask(served, key, is_first=self._is_first_page(request, key[1]))
        if action:
            self.struck[action] += 1
        await self._pause(process, min(delay_s / 2 + reply.delay_s, limit_s))
        if delay_s / 2 + reply.delay_s >= limit_s:
            raise TimeoutError
        lost = flavour == "lost-reply" or self._rng.random() < network.lost_replies
        if lost or reply.delivery != "complete":
            self.struck["reply lost"] += lost
            raise ConnectionError("the answer was lost")
        process.touch("answered", f"{reply.status} {len(reply.body)} {action}")
        if connection:
            self._note(process, request, reply, action, found=found, connection=connection)
        elif reply.status == 400 and b"use_dpop_nonce" not in reply.body:
            self.served[process.number].refusals["", ""] += 1
        return reply

    def _ask(self, served: Served, key: tuple[str, str], *, is_first: bool) -> None:
        """Note that a page is asked for: a read whose last page never came is begun anew."""
        if is_first and key in served.awaited:
            served.awaited.discard(key)
            served.complete.discard(key)
            if answers := served.answers.pop(key)[:-1]:
                served.answers[key] = answers
        served.awaited |= set() if is_first else {key} & served.complete
        served.unfinished |= {key} & served.complete

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
        """Keep an answer to the process that is the truth, or passes for it, and is complete."""
        key = _key_of(request)
        served = self.served[process.number]
        served.refusals[key] += reply.status == 401
        if reply.status != 200:
            return
        renderer = self.state.renderers[key[1]]
        if action not in TRUE_ACTIONS and not _is_unspoilt(renderer, key, reply, action, found):
            served.passing.pop(key, None)
            return
        served.unfinished.discard(key)
        served.awaited.discard(key)
        if self._is_first_page(request, key[1]):
            served.passing[key] = Answer()
            served.complete.discard(key)
            if not served.answers.get(key):  # a further read is no better than the first
                served.doubtful.discard(key)
        elif key not in served.passing:
            return
        if action not in TRUE_ACTIONS or (action == Action.EMPTY_LIST and self.is_in_pages):
            served.doubtful.add(key)
        items = _items_of(reply)
        column = "confidentialityCode" if key[1] == SAFETY else "privacyLevel"
        passing = served.passing[key]
        passing.rows.update({item["id"]: int(item[column][1:]) for item in items})
        passing.at_s = self.clock.elapsed_s
        passing.connections.append(connection)
        is_complete = action == Action.EMPTY_LIST or passing.rows.keys() == found.keys()
        if is_complete and key not in served.complete:  # else: a further page, with nothing new
            served.complete.add(key)
            served.answers[key].append(passing)

    @property
    def is_in_pages(self) -> bool:
        """Whether PTS's answers are paged."""
        return self.state.contract[SAFETY].pages.style != "none"

    def _is_first_page(self, request: Request, area: str) -> bool:
        paging = self.state.contract[area].pages
        name, place = continuation_of(paging)
        query = dict(parse_qsl(request.query))
        sent = (query if place == "query" else msgspec.json.decode(request.body)).get(name)
        first = paging.first if paging.style == "page" else 0
        return sent is None or str(sent) == str(first)

    def date(self) -> str:
        """The ``Date`` header."""
        at = self.clock.true_now().replace(microsecond=0)
        return format_datetime(at, usegmt=True)


def _key_of(request: Request) -> tuple[str, str]:
    """The person and the area that are asked for."""
    area = PRIVACY if PRIVACY in request.path else SAFETY
    return msgspec.json.decode(request.body)["offId"], area


def _is_unspoilt(
    renderer: Renderer, key: tuple[str, str], reply: Response, action: str, found: Rows
) -> bool:
    """Whether every record on this page is as it should be, in spite of the fault."""
    if action not in RECORDS:
        return False
    off_id, area = key
    rows = [restriction(area, off_id, *row) for row in found.items()]
    right = [renderer.record(row) for row in rows]
    return all(item in right for item in _items_of(reply))


def _items_of(reply: Response) -> list[dict[str, Any]]:
    sent = msgspec.json.decode(reply.body)
    if isinstance(sent, dict):
        sent = sent["items" if "items" in sent else "value"]
    items: list[dict[str, Any]] = sent
    return items
