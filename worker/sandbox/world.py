"""The options and faults of a sandbox, and the state that both stand-ins share."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from worker.sandbox.clients import Client
from worker.sandbox.contract import Contract, Renderer, read_contract
from worker.sandbox.people import population
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
    """Fields beside the records that indicate more pages and are in no contract."""


RECORDS: Final = frozenset(
    {
        Action.EMPTY_LIST, Action.OTHER_PERSON, Action.NO_KEY, Action.WRONG_TYPE,
        Action.UNKNOWN_CONTINUATION,
    }
)  # fmt: skip
"""Actions on the records of an answer. The others affect a request before it is checked."""


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault. It affects requests that match all conditions.

    Attributes:
        area: see ``Area``.
        persons: only these, by line of the roster from 0, or by identifier.
        every: every nth matching request.
        times: affect at most this many requests.
        status, body, headers, slow_s, skew_s: see the actions.
        matched, struck: numbers of matching and of affected requests.
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
        """Whether the fault affects a request to this area, for this person. Counts it."""
        is_pts = area in {"patient-safety", "patient-privacy"}
        if self.area != area and not (self.area == "pts" and is_pts):
            return False
        if self.persons is not None and not {index, off_id} & {*self.persons}:
            return False
        self.matched += 1
        # Requests after the last affected one still count as matching.
        is_over = self.times is not None and self.struck >= self.times
        if is_over or self.matched % self.every:
            return False
        self.struck += 1
        return True

    def instead(self) -> Response | None:
        """The response in place of the normal one. None for most actions."""
        kind = "text/html" if self.body.startswith("<") else "application/json"
        if self.action is Action.STATUS:
            return Response(self.status, self.body.encode(), self.headers, kind, self.slow_s)
        is_drop = self.action is Action.DROP
        return Response(0, delay_s=self.slow_s, delivery="dropped") if is_drop else None

    def spoil(self, response: Response) -> Response:
        """The normal response, with the fault's delivery and delay."""
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
    """The first fault that affects this request. Counts the match.

    Args:
        in_records: look for faults in the records of an answer. Default: all other faults.
    """
    for fault in faults:
        if (fault.action in RECORDS) == in_records and fault.strikes(area, off_id, index):
            return fault
    return None


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a sandbox. The same options give the same responses.

    Attributes:
        seed, persons: the persons on the roster. Any other person has no records.
        helseid_port, pts_port: 0 selects a free port.
        issuer, pts_url: addresses of the stand-ins, which may be behind a proxy. Empty: those of
            the ports. The issuer may have a path.
        clients: the registered clients of HelseID.
        faults: see ``Fault``. Tables or objects.
        generation: the version of the world. A higher one has changed restrictions.
        contract: PTS's contract: a TOML file or its content. Empty: the default contract.
        page_size: records of a page, if the contract has pages.
        rs_nonce: PTS requires a nonce in the DPoP proof.
        challenge_style: the form of PTS's refusals, see ``RefusedError.at_api``.
        clock_skew_s: how far the stand-ins' clock is ahead (negative: behind).
    """

    seed: int = 1
    persons: int = 200
    helseid_port: int = 0
    pts_port: int = 0
    issuer: str = ""
    pts_url: str = ""
    clients: Sequence[Client] = ()
    faults: Sequence[Any] = ()
    generation: int = 0
    contract: str | dict[str, Any] = ""
    page_size: Annotated[int, msgspec.Meta(ge=1)] = 2
    token_lifetime_s: int = 600
    rs_nonce: bool = False
    challenge_style: Literal["bearer", "dpop"] = "bearer"
    clock_skew_s: float = 0.0

    def at_ports(self, helseid_port: int, pts_port: int) -> "SandboxOptions":
        """The options with these ports, and with addresses if they have none."""
        issuer = self.issuer or f"http://127.0.0.1:{helseid_port}/helseid"
        pts_url = self.pts_url or f"http://127.0.0.1:{pts_port}"
        ports = {"helseid_port": helseid_port, "pts_port": pts_port}
        return msgspec.structs.replace(self, issuer=issuer, pts_url=pts_url, **ports)


class World:
    """The state shared by both stand-ins. Changed only in the server's thread.

    Attributes:
        options: as changed by ``apply``.
        clock: seconds since 1970, without the skew.
        counts: of requests, answers and refusals by kind, without personal values.
        issued: ``jti`` of tokens that are not revoked.
        people: the persons with their lines of the roster.
        clients: the registered clients, by client id.
    """

    options: SandboxOptions
    faults: Sequence[Fault]
    people: Mapping[str, int]
    contract: Contract
    renderers: dict[str, Renderer]
    clients: dict[str, Client]

    def __init__(self, options: SandboxOptions, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.issued: set[str] = set()
        self._initial = options
        self.apply({"reset": True})

    def now(self, fault: Fault | None = None) -> float:
        """The stand-ins' clock: seconds since 1970. A fault can change it."""
        return self.clock() + self.options.clock_skew_s + (fault.skew_s if fault else 0.0)

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Change settings of the running sandbox: all of them, or none on an error.

        ``faults`` replaces the list. ``revoke_tokens`` invalidates all tokens issued so far.
        ``clear`` sets all counts to 0. ``reset`` restores the initial state before the other
        changes, as NHN resets its test environment. The other keys are options.

        Raises:
            OSError: a contract cannot be read.
            ValueError: an unknown key or an invalid value.
        """
        settings = dict(changes)
        is_reset, is_revoked, is_cleared = (
            settings.pop(name, False) for name in ("reset", "revoke_tokens", "clear")
        )
        before, faults = (self._initial, []) if is_reset else (self.options, self.faults)
        try:
            options = msgspec.convert(msgspec.structs.asdict(before) | settings, SandboxOptions)
            if is_reset or "faults" in settings:
                faults = msgspec.convert(options.faults, list[Fault])
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        # All that can fail comes before the first change.
        contract = read_contract(options.contract)
        renderers = {area: Renderer(area, declared) for area, declared in contract.items()}
        self.people = population(options.seed, options.persons)
        self.clients = {client.client_id: client for client in options.clients}
        self.options, self.faults = options, faults
        self.contract, self.renderers = contract, renderers
        if is_reset or is_revoked:
            # A token is valid only as long as its ``jti`` is here.
            self.issued.clear()
        if is_cleared:
            self.counts.clear()

    def settings(self) -> dict[str, Any]:
        """The current options, and the counts."""
        return msgspec.structs.asdict(self.options) | {
            "clients": sorted(self.clients),
            "faults": [str(fault.action) for fault in self.faults],
            "faults_struck": [fault.struck for fault in self.faults],
            "counts": dict(sorted(self.counts.items())),
        }
