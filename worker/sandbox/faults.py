"""Injected faults as data: which requests are affected, and how."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, Literal, TypeAlias

import msgspec

from worker.sandbox.web import Delivery, Response

Area: TypeAlias = Literal["patient-safety", "patient-privacy", "pts", "token", "discovery", "jwks"]
"""Endpoints that a fault can affect. ``pts``, the default, is both areas of PTS."""


class Action(StrEnum):
    """The kinds of faults."""

    STATUS = "status"
    """Another answer: ``status`` with ``body``, which may be HTML, and ``headers``."""
    DROP = "drop"
    RESET = "reset"
    TRUNCATE = "truncate"
    SLOW = "slow"
    """A correct response, delayed by ``slow_s``. Other actions accept ``slow_s`` too."""
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - a name
    CLOCK_SKEW = "clock_skew"
    """The server's clock is ``skew_s`` ahead (negative: behind). Other actions accept it too."""

    EMPTY_LIST = "empty_list"
    OTHER_PERSON = "other_person"
    NO_KEY = "no_key"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_CONTINUATION = "unknown_continuation"
    """Beside the records stand fields that speak of more and are in no contract."""


RECORDS: Final = frozenset(
    {
        Action.EMPTY_LIST, Action.OTHER_PERSON, Action.NO_KEY, Action.WRONG_TYPE,
        Action.UNKNOWN_CONTINUATION,
    }
)  # fmt: skip
"""Faults in the records of an answer. The others strike before a request is checked."""


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault. It affects requests that match all conditions.

    Attributes:
        area: see ``Area``.
        persons: only these, by line of the roster from 0, or by identifier.
        every: every nth matching request.
        times: affect at most this many requests.
        status, body, headers, slow_s, skew_s: see the actions.
        matched, struck: how many requests it has matched, and affected.
    """

    action: Action
    area: Area = "pts"
    persons: tuple[int | str, ...] | None = None
    every: int = 1
    times: int | None = None
    status: int = 503
    body: str = ""
    headers: dict[str, str] = {}
    slow_s: float = 0.0
    skew_s: float = 0.0
    matched: int = 0
    struck: int = 0

    def strikes(self, area: str, off_id: str | None, index: int | None) -> bool:
        """Whether the fault affects a request to this area, for this person; counts it."""
        is_pts = area in {"patient-safety", "patient-privacy"}
        if self.area != area and not (self.area == "pts" and is_pts):
            return False
        if self.persons is not None and not {index, off_id} & {*self.persons}:
            return False
        self.matched += 1
        is_over = self.times is not None and self.struck >= self.times
        if is_over or self.matched % self.every:
            return False
        self.struck += 1
        return True

    def instead(self) -> Response | None:
        """What is answered in place of the normal response; None for most actions."""
        kind = "text/html" if self.body.startswith("<") else "application/json"
        if self.action is Action.STATUS:
            return Response(self.status, self.body.encode(), self.headers, kind, self.slow_s)
        is_drop = self.action is Action.DROP
        return Response(0, delay_s=self.slow_s, delivery="dropped") if is_drop else None

    def spoil(self, response: Response) -> Response:
        """The normal response, delivered as the fault has it."""
        deliveries: dict[Action, Delivery] = {Action.RESET: "reset", Action.TRUNCATE: "truncated"}
        delivery = deliveries.get(self.action, response.delivery)
        return replace(response, delivery=delivery, delay_s=self.slow_s)


def pick(
    faults: Sequence[Fault],
    area: str,
    off_id: str | None = None,
    index: int | None = None,
    *,
    in_records: bool = False,
) -> Fault | None:
    """The first fault that affects this request in this phase. Counts the match."""
    for fault in faults:
        if (fault.action in RECORDS) == in_records and fault.strikes(area, off_id, index):
            return fault
    return None
