"""What goes wrong in a simulated night: upstream, on the way, and in the process itself."""

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from tests.support.model.values import AREAS
from tests.support.simulation.process import COMMIT, DATABASE, FILE, HTTP, Trouble
from tests.support.simulation.stage import Stage
from worker.sandbox.faults import Action

_LEAST_SPOILS = (
    Action.RESET, Action.TRUNCATE, Action.EMPTY_OBJECT, Action.NULL, Action.EMPTY_BODY,
    Action.ERROR_OBJECT, Action.BROKEN_JSON, Action.BROKEN_UTF8, Action.OTHER_PERSON,
    Action.WRONG_TYPE, Action.LOOP_PAGING, Action.WRONG_TOTAL, Action.UNKNOWN_CONTINUATION,
    Action.HTML, Action.REDIRECT, Action.DROP, Action.STATUS, Action.SLOW,
    Action.NONCE_EVERY_CALL, Action.NONCE_FOREVER, Action.NONCE_WITHOUT_HEADER,
    Action.EXPIRED_TOKEN, Action.CLOCK_SKEW, Action.NO_KEY, Action.EMPTY_LIST,
)  # fmt: skip
_TOKEN_SPOILS = (
    Action.STATUS, Action.DROP, Action.SLOW, Action.HTML, Action.BEARER_TOKEN_TYPE,
    Action.BROKEN_JSON, Action.TOKEN_LIFETIME, Action.NONCE_EVERY_CALL, Action.NONCE_FOREVER,
    Action.NONCE_WITHOUT_HEADER, Action.CLOCK_SKEW, Action.RESET, Action.EMPTY_BODY,
)  # fmt: skip
_DISCOVERY_SPOILS = (
    Action.STATUS, Action.DROP, Action.SLOW, Action.HTML, Action.WRONG_ISSUER, Action.BROKEN_JSON,
    Action.REDIRECT,
)  # fmt: skip
DRAWN = frozenset((*_LEAST_SPOILS, *_TOKEN_SPOILS, *_DISCOVERY_SPOILS))
"""Every fault of the sandbox that may strike."""


KINDS: dict[str, dict[str, Any]] = {
    "500": {"action": Action.STATUS, "status": 500},
    "503": {"action": Action.STATUS, "status": 503},
    "reset": {"action": Action.RESET},
    "cut body": {"action": Action.TRUNCATE},
    "403": {"action": Action.STATUS, "status": 403},
    "wrong shape": {"action": Action.EMPTY_OBJECT},
}
"""How somebody may fail for some nights."""


def digest(off_id: str) -> str:
    """How a fault names a person."""
    return sha256(off_id.encode()).hexdigest()


class Weather:
    """Faults of one world, of a seed's choosing."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        seed = stage.upstream.state.options.seed
        self.luck = random.Random(f"extra answers {seed}")
        self._certain: list[dict[str, Any]] = []
        self._first = [_LEAST_SPOILS[seed % len(_LEAST_SPOILS)]]

    def arm(self) -> None:
        """Choose what goes wrong upstream and on the way this night."""
        network = self.stage.upstream.network
        network.lost_requests = self.rng.choice((0, 0, 0.02, 0.1))
        network.lost_replies = self.rng.choice((0, 0, 0.02, 0.1))
        network.slow = self.rng.choice((0, 0, 0.05))
        network.extra_answers = self.luck.choice((0.3, 0.7))
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
        network.extra_answers = 0.0
        self.stage.upstream.arm([])

    def _certain_persons(self) -> list[dict[str, Any]]:
        """Some persons, the head of the roster perhaps, fail in this night and those after it."""
        roster = [line.off_id for line in self.stage.roster if not line.bad]
        count = self.luck.randint(1, len(roster))
        chosen = roster[:count] if self.luck.random() < 0.5 else self.luck.sample(roster, count)
        self.stage.tally.faults["certain persons for some nights"] += 1
        fault = self.luck.choice([*KINDS.values()])
        area = self.luck.choice(("pts", *AREAS))
        return [{**fault, "area": area, "off_id_sha256": [digest(one) for one in chosen]}]

    def _faults(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3))):
            where = self.rng.choice(("pts", "pts", "pts", *AREAS, "token", "discovery"))
            action = self._action(where)
            if action == Action.EMPTY_LIST and self.stage.upstream.is_in_pages:
                continue  # half an answer that calls itself complete: nobody could see it
            fault: dict[str, Any] = {"action": action, "area": where}
            fault |= self.rng.choice(
                (
                    {"nth": self.rng.randint(1, 12)},
                    {"every": self.rng.randint(2, 7)},
                    {"first": self.rng.randint(1, 6)},
                    {"share": self.rng.choice((0.1, 0.3, 1.0))},
                    {"times": self.rng.randint(1, 4)},
                )
            )
            if action == Action.STATUS:
                fault["status"] = self.rng.choice((400, 401, 403, 404, 429, 429, 500, 502, 503))
                if self.rng.random() < 0.5:
                    fault["retry_after_s"] = self.rng.choice((0, 1, 3, 30, 90, 400, 1200))
                    fault["retry_after_as"] = self.rng.choice(("seconds", "date"))
            if action == Action.SLOW or self.rng.random() < 0.1:
                fault["slow_s"] = self.rng.choice((0.5, 4.0, 12.0, 29.0, 45.0))
            if action == Action.CLOCK_SKEW:
                fault["skew_s"] = self.rng.choice((-400, -8, -3, 3, 8, 400))
                if where != "token":
                    fault |= self.rng.choice(({}, {"replicas": 3}))
                if "replicas" in fault:
                    fault["replica_by"] = self.luck.choice(("request", "connection"))
            yield fault

    def _action(self, where: str) -> Action:
        choices = {"token": _TOKEN_SPOILS, "discovery": _DISCOVERY_SPOILS}
        action = self.rng.choice(choices.get(where, _LEAST_SPOILS))
        if where not in choices and self._first:
            return self._first.pop()  # neighbouring seeds meet different kinds
        return action

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
