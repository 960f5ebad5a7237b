"""What goes wrong in a simulated night: upstream, on the way, and in the process itself."""

import random
from collections.abc import Iterator
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import Any

from tests.support.model.values import AREAS
from tests.support.simulation.process import COMMIT, DATABASE, FILE, HTTP, Trouble
from tests.support.simulation.stage import Stage
from worker.sandbox.world import Action

_LEAST_SPOILS = tuple(Action)
_HELSEID_SPOILS = (
    Action.STATUS, Action.DROP, Action.SLOW, Action.CLOCK_SKEW, Action.RESET, Action.TRUNCATE,
)  # fmt: skip
_BODIES = (
    "{}", "null", "", '[{"id":', "<!doctype html><title>Sign in</title>",
    '{"errorCode": "SBX-0001", "errorMessage": "Something went wrong."}',
)  # fmt: skip
"""Answers with status 200 that are none."""
_CHALLENGE = {"status": 400, "body": '{"error": "use_dpop_nonce"}'}


KINDS: dict[str, dict[str, Any]] = {
    "500": {"action": Action.STATUS, "status": 500},
    "503": {"action": Action.STATUS, "status": 503},
    "reset": {"action": Action.RESET},
    "cut body": {"action": Action.TRUNCATE},
    "403": {"action": Action.STATUS, "status": 403},
    "wrong shape": {"action": Action.STATUS, "status": 200, "body": "{}"},
}
"""How somebody may fail for some nights."""


class Weather:
    """Faults of one world, of a seed's choosing."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        seed = stage.upstream.state.options.seed
        self.luck = random.Random(f"certain persons {seed}")
        self._certain: list[dict[str, Any]] = []
        self._first = [_LEAST_SPOILS[seed % len(_LEAST_SPOILS)]]

    def arm(self) -> None:
        """Choose what goes wrong upstream and on the way this night."""
        network = self.stage.upstream.network
        network.lost_requests = self.rng.choice((0, 0, 0.02, 0.1))
        network.lost_replies = self.rng.choice((0, 0, 0.02, 0.1))
        network.slow = self.rng.choice((0, 0, 0.05))
        network.latency_s = self.rng.choice((0.002, 0.05, 0.4))
        if self.luck.random() < 0.2:
            self._certain = self._certain_persons()
        self.stage.upstream.arm([*self._certain, *self._faults()])
        if self.rng.random() < 0.1:
            self.stage.upstream.state.apply({"revoke_tokens": True})
            self.stage.tally.faults["tokens revoked"] += 1

    def disarm(self) -> None:
        network = self.stage.upstream.network
        network.lost_requests = network.lost_replies = network.slow = 0.0
        self.stage.upstream.arm([])

    def _certain_persons(self) -> list[dict[str, Any]]:
        """Some persons, the head of the roster perhaps, fail in this night and those after it."""
        roster = [line.off_id for line in self.stage.roster if not line.bad]
        count = self.luck.randint(1, len(roster))
        chosen = roster[:count] if self.luck.random() < 0.5 else self.luck.sample(roster, count)
        self.stage.tally.faults["certain persons for some nights"] += 1
        fault = self.luck.choice([*KINDS.values()])
        area = self.luck.choice(("pts", *AREAS))
        return [{**fault, "area": area, "persons": chosen}]

    def _faults(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3))):
            where = self.rng.choice(("pts", "pts", "pts", *AREAS, "token", "discovery"))
            action = self._action(where)
            if action == Action.EMPTY_LIST and self.stage.upstream.is_in_pages:
                continue  # half an answer that calls itself complete: nobody could see it
            fault: dict[str, Any] = {"action": action, "area": where}
            fault |= self.rng.choice(
                (
                    {"every": self.rng.randint(2, 12)},
                    {"every": self.rng.randint(2, 12), "times": 1},
                    {"times": self.rng.randint(1, 4)},
                )
            )
            if action == Action.STATUS:
                fault |= self._status(where)
            if action == Action.SLOW or self.rng.random() < 0.1:
                fault["slow_s"] = self.rng.choice((0.5, 4.0, 12.0, 29.0, 45.0))
            if action == Action.CLOCK_SKEW:
                fault["skew_s"] = self.rng.choice((-400, -8, -3, 3, 8, 400))
            yield fault

    def _status(self, where: str) -> dict[str, Any]:
        """A refusal, perhaps with ``Retry-After``, or a success that is none, or a redirection."""
        match self.rng.choice(("refused", "refused", "asked to wait", "spoilt", "redirected")):
            case "spoilt":
                return {"status": 200, "body": self.rng.choice(_BODIES)}
            case "redirected":
                return {"status": 307, "headers": {"location": "https://example.invalid/"}}
            case "asked to wait":
                seconds = self.rng.choice((0, 1, 3, 30, 90, 400, 1200))
                at = self.stage.clock.true_now().astimezone(UTC) + timedelta(seconds=seconds)
                wait = self.rng.choice((f"{seconds}", format_datetime(at, usegmt=True)))
                return {"status": self.rng.choice((429, 503)), "headers": {"retry-after": wait}}
            case _ if where == "token" and self.rng.random() < 0.3:
                nonce = self.rng.choice(({}, {"dpop-nonce": "never valid"}))
                return {**_CHALLENGE, "headers": nonce}
            case _:
                return {"status": self.rng.choice((400, 401, 403, 404, 429, 500, 502, 503))}

    def _action(self, where: str) -> Action:
        is_helseid = where in ("token", "discovery")
        if not is_helseid and self._first:
            return self._first.pop()  # neighbouring seeds meet different kinds
        return self.rng.choice(_HELSEID_SPOILS if is_helseid else _LEAST_SPOILS)

    def trouble(self) -> Trouble:
        """What goes wrong inside the process."""
        trouble = Trouble()
        luck = self.rng.random()
        if luck < 0.25:
            trouble.crash_at = int(self.rng.triangular(1, 700, 200))
        elif luck < 0.4:
            flavour = self.rng.choice(("locked", "lost", "done-lost", "done-lost", "done-io"))
            trouble.fail[COMMIT, self.rng.randint(1, 25)] = flavour
        elif luck < 0.5:
            for _ in range(self.rng.choice((1, 1, 2, 5))):
                number = self.rng.randint(1, 400)
                flavour = self.rng.choice(("locked", "io", "full", "lost", "done-lost", "done-io"))
                trouble.fail[DATABASE, number] = flavour
        elif luck < 0.55:
            trouble.fail[FILE, self.rng.randint(1, 2)] = "error"
        elif luck < 0.6:
            kind = self.rng.choice(("error", "lost-reply", "lost-request"))
            trouble.fail[HTTP, self.rng.randint(1, 40)] = kind
            trouble.persistent = self.rng.random() < 0.3
        return trouble
