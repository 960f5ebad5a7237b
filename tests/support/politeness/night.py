"""A night of the complete worker before a PTS that a test scripts, in virtual time.

Everything but sockets and clocks is the real program: roster, tokens, pages, writer, publication.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import anyio

from tests.support.simulation.loop import Clock
from tests.support.simulation.nth_call import in_world
from tests.support.simulation.served import Rows
from tests.support.simulation.stage import Line, Outcome, Stage
from tests.support.simulation.upstream import DictPts
from worker.core.model import RunKind
from worker.sandbox.people import PRIVACY, SAFETY
from worker.sandbox.web import Request, Response
from worker.store.runs.run_store import BackfillSelection

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A search.

    Attributes:
        at_s: when, from the beginning of the night.
        person: the how many-th of the roster.
        token: that it came with.
        is_good: it was answered with the truth.
    """

    at_s: float
    person: int
    area: str
    token: str
    is_good: bool = True


Script = Callable[[Asked], Response | None]
"""What PTS answers instead of the truth; None: the truth."""
Fault = tuple[dict[str, Any], float]


def status(code: int, *headers: tuple[str, str]) -> Response:
    return Response(code, b"", headers=dict(headers))


def wait(seconds: float, code: int = 429) -> Response:
    return status(code, ("retry-after", f"{seconds:g}"))


_nonces = count()


def new_nonce() -> Response:
    """A proof is refused for want of a nonce that nobody has heard of yet."""
    return status(401, ("dpop-nonce", f"nonce-{next(_nonces)}"))


KINDS: dict[str, Callable[[], Response]] = {
    "500": lambda: status(500),
    "503": lambda: status(503),
    "reset": lambda: Response(200, b"", delivery="reset"),
    "silence": lambda: Response(200, b"[]", delay_s=HOUR_S),
    "nonce": new_nonce,
    "401": lambda: status(401),
    "403": lambda: status(403),
    "400": lambda: status(400),
    "404": lambda: status(404),
    "html": lambda: Response(200, b"<html>", media_type="text/html"),
    "shape": lambda: Response(200, b'{"title": "maintenance"}'),
    "wait": lambda: wait(40),
    "long wait": lambda: wait(2 * HOUR_S),
}
"""How PTS may fail."""


@dataclass(kw_only=True)
class ScriptedPts:
    """PTS, which answers as scripted."""

    pts: DictPts
    clock: Clock
    roster: Mapping[str, int]
    script: Script = lambda _: None
    began_s: float = 0.0
    asked: list[Asked] = field(default_factory=list)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        area = PRIVACY if PRIVACY in request.path else SAFETY
        ask = Asked(
            at_s=self.clock.elapsed_s - self.began_s,
            person=self.roster[json.loads(request.body)["offId"]],
            area=area,
            token=str(request.header("authorization")),
        )
        reply = self.script(ask)
        self.asked.append(replace(ask, is_good=reply is None))
        return self.pts.handle(request) if reply is None else (area, reply, "scripted")

    @property
    def found(self) -> Rows:
        return self.pts.found


class Nights:
    """A worker with its database, and a PTS, over several nights."""

    def __init__(
        self,
        folder: Path,
        persons: int,
        *,
        holders: int | None = None,
        token_lifetime_s: int = 600,
        **limits: Any,
    ) -> None:
        """Of so many persons this many hold restrictions, at regular places; by default all."""
        clock = Clock(datetime(2026, 3, 28, 22, 17, 43, tzinfo=UTC))
        folder.mkdir(exist_ok=True)
        self.stage = Stage(
            folder, clock, random.Random(5), seed=7, token_lifetime_s=token_lifetime_s
        )
        self.stage.look_share = 0.0
        roster = [self.stage.upstream.off_id(number) for number in range(persons)]
        for number, off_id in enumerate(roster):
            holds = holders is None or number % (persons // holders) == 0
            rows = ({"a": 1}, {"b": 1}) if holds else ({}, {})
            self.stage.upstream.truth[off_id] = dict(zip((SAFETY, PRIVACY), rows, strict=True))
            self.stage.roster.append(Line(off_id=off_id, ref=f"L{number}"))
        self.stage.limit(**{"concurrency": 16, "requests_per_second": 100.0, **limits})
        numbers = {off_id: number for number, off_id in enumerate(roster)}
        self.pts = ScriptedPts(pts=self.stage.upstream._pts, clock=clock, roster=numbers)
        self.stage.upstream._pts = self.pts  # type: ignore[assignment]

    @property
    def asked(self) -> list[Asked]:
        """The searches of the last night."""
        return self.pts.asked

    @property
    def most_in_a_second(self) -> int:
        """The searches in the busiest second of the last night."""
        moments, first, most = [ask.at_s for ask in self.asked], 0, 0
        for last, at_s in enumerate(moments):
            while moments[first] <= at_s - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most

    @property
    def took_s(self) -> float:
        """How long the last night was."""
        return self.stage.clock.elapsed_s - self.pts.began_s

    def night(
        self,
        script: Script = lambda _: None,
        *,
        helseid: Fault | None = None,
        kind: RunKind = RunKind.SYNC,
        failed: bool = False,
        stop_at_s: float | None = None,
    ) -> Outcome:
        """One more run.

        Args:
            script: the answers of PTS.
            helseid: the sandbox's fault of HelseID, and when it ends.
            failed: a backfill that reads failures.
            stop_at_s: when the run is asked to stop.
        """
        self.pts.asked, self.pts.script = [], script
        self.pts.began_s = self.stage.clock.elapsed_s

        async def main() -> Outcome:
            if helseid is not None:
                fault, until_s = helseid
                self.stage.upstream.arm([fault])
                self.stage.loop.call_later(until_s, self.stage.upstream.arm, [])
            selection, stop = BackfillSelection(failed=True) if failed else None, anyio.Event()
            if stop_at_s is not None:
                self.stage.loop.call_later(stop_at_s, stop.set)
            process = self.stage.process()
            return await self.stage.run(process, kind=kind, selection=selection, stop=stop)

        outcome: Outcome = in_world(self.stage, main)
        return outcome
