"""Injected faults as data: which request is affected, and how."""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import msgspec

Area: TypeAlias = Literal[
    "patient-safety", "patient-privacy", "pts", "token", "discovery", "jwks",
]  # fmt: skip
"""Endpoints that a fault can affect. ``pts``, the default, is both areas of PTS."""


class Action(StrEnum):
    """The kinds of faults."""

    STATUS = "status"
    """HTTP ``status`` with ``body``, and ``Retry-After`` in seconds or as an HTTP date."""
    DROP = "drop"
    RESET = "reset"
    TRUNCATE = "truncate"
    SLOW = "slow"
    """A correct response, delayed by ``slow_s``. Other actions accept ``slow_s`` too."""
    HTML = "html"
    """An HTML page, with ``status`` or 200."""
    EMPTY_OBJECT = "empty_object"
    NULL = "null"
    EMPTY_BODY = "empty_body"
    ERROR_OBJECT = "error_object"
    """An error object with status 200."""
    BROKEN_JSON = "broken_json"
    BROKEN_UTF8 = "broken_utf8"
    REDIRECT = "redirect"

    EMPTY_LIST = "empty_list"
    OTHER_PERSON = "other_person"
    NO_KEY = "no_key"
    WRONG_TYPE = "wrong_type"
    LOOP_PAGING = "loop_paging"
    WRONG_TOTAL = "wrong_total"
    UNKNOWN_CONTINUATION = "unknown_continuation"

    NONCE_EVERY_CALL = "nonce_every_call"
    """Each nonce is valid once, so every request is challenged first."""
    NONCE_FOREVER = "nonce_forever"
    """No nonce is ever valid."""
    NONCE_WITHOUT_HEADER = "nonce_without_header"
    """The challenge has no ``DPoP-Nonce``."""
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - a name
    CLOCK_SKEW = "clock_skew"
    """The server's clock is ``skew_s`` ahead (negative: behind) for this request.

    With ``replicas``, only one replica has the wrong clock.
    """

    BEARER_TOKEN_TYPE = "bearer_token_type"  # noqa: S105 - a name
    TOKEN_LIFETIME = "token_lifetime"  # noqa: S105 - a name
    """The token's lifetime is ``lifetime_s``."""
    WRONG_ISSUER = "wrong_issuer"
    """The discovery document names another issuer."""


BEFORE_CHECKS: Final = frozenset(
    {
        Action.STATUS, Action.DROP, Action.SLOW, Action.HTML, Action.REDIRECT,
        Action.NONCE_EVERY_CALL, Action.NONCE_FOREVER, Action.NONCE_WITHOUT_HEADER,
        Action.EXPIRED_TOKEN, Action.CLOCK_SKEW,
    }
)  # fmt: skip
"""Faults applied before token, DPoP proof and body are checked. The others change a response."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. It affects requests that match all conditions.

    Attributes:
        area: see ``Area``.
        nth: only the nth matching request, from 1.
        every: every nth matching request.
        first: only the first n matching requests.
        share: this share of persons (or of requests, without a person), chosen by hash.
        persons: only these lines of the roster, from 0.
        off_id_sha256: only identifiers with these SHA-256 digests, in hex.
        times: affect at most this many requests.
        replicas: simulate this number of PTS replicas, of which only one has the fault. Requests
            are assigned by hash, so a sequence always gives the same result.
        replica: the replica with the fault, from 0.
        replica_by: assign each ``request`` or each ``connection`` to a replica.
        status, body, retry_after_s, retry_after_as, slow_s, skew_s, lifetime_s: see the actions.
            ``retry_after_as`` is ``seconds`` or ``date``.
    """

    action: Action
    area: Area | None = None
    nth: int | None = None
    every: int | None = None
    first: int | None = None
    share: float | None = None
    persons: tuple[int, ...] | None = None
    off_id_sha256: tuple[str, ...] | None = None
    times: int | None = None
    replicas: int | None = None
    replica: int = 0
    replica_by: Literal["request", "connection"] = "request"
    status: int | None = None
    body: str = ""
    retry_after_s: float | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"
    slow_s: float = 0.0
    skew_s: float = 0.0
    lifetime_s: int = 5

    @classmethod
    def of(cls, data: "Mapping[str, Any] | Fault") -> "Fault":
        """Read a fault from a TOML or JSON table.

        Raises:
            ValueError: an unknown key, action or area.
        """
        if isinstance(data, Fault):
            return data
        if data.get("action") not in {*Action}:
            raise ValueError(
                f"a fault has no action {data.get('action')!r}; actions are {', '.join(Action)}"
            )
        try:
            fault = msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"a fault cannot be read: {error}") from None
        _check_replicas(fault)
        return fault

    def strikes_area(self, area: str) -> bool:
        """Whether the fault affects this area."""
        in_pts = area in {"patient-safety", "patient-privacy"}
        return in_pts if self.area in {None, "pts"} else self.area == area

    def retry_after(self, now_s: float) -> str | None:
        """The value of ``Retry-After``."""
        if self.retry_after_s is None:
            return None
        if self.retry_after_as == "date":
            at = datetime.fromtimestamp(now_s, tz=UTC) + timedelta(seconds=self.retry_after_s)
            return format_datetime(at, usegmt=True)
        return f"{self.retry_after_s:g}"


def _check_replicas(fault: Fault) -> None:
    if fault.replicas is None:
        return
    if not 0 <= fault.replica < fault.replicas:
        raise ValueError(f"replica must be from 0 to {fault.replicas - 1}")
    if not fault.strikes_area("patient-safety") and not fault.strikes_area("patient-privacy"):
        raise ValueError("only PTS has replicas")


def has_action(fault: Fault | None, *actions: Action) -> TypeGuard[Fault]:
    """Whether there is a fault with one of these actions."""
    return fault is not None and fault.action in actions


def read_faults(path: Path) -> list[Fault]:
    """Read faults from a TOML file with ``[[fault]]`` tables.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not TOML, or contains an invalid fault.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if unknown := sorted(document.keys() - {"fault"}):
        raise ValueError(f"{path}: unknown key {unknown[0]}; write each fault as [[fault]]")
    tables: Any = document.get("fault", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ValueError(f"{path}: expected a list of faults")
    faults = []
    for number, table in enumerate(tables, 1):
        try:
            faults.append(Fault.of(table))
        except ValueError as error:
            raise ValueError(f"{path}, fault {number}: {error}") from None
    return faults


@dataclass(slots=True)
class _Armed:
    fault: Fault
    salt: bytes
    matched: int = 0
    struck: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """A request, for matching. ``request`` and ``connection`` are sequence numbers."""

    area: str
    off_id: str | None = None
    index: int | None = None
    request: int = 0
    connection: int = 0


@dataclass(slots=True)
class FaultPlan:
    """The active faults, with their counters."""

    _armed: list[_Armed] = field(default_factory=list)
    _requests: int = 0

    @classmethod
    def of(cls, faults: Iterable["Mapping[str, Any] | Fault"]) -> "FaultPlan":
        """A plan with these faults; counters start at 0."""
        return cls([_Armed(Fault.of(f), b"%d" % n) for n, f in enumerate(faults)])

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults, in order."""
        return [armed.fault for armed in self._armed]

    def next_request(self) -> int:
        """The number of the current request, for ``Target``; from 1."""
        self._requests += 1
        return self._requests

    def struck(self) -> list[int]:
        """How many requests each fault has affected."""
        return [armed.struck for armed in self._armed]

    def pick(self, target: Target, *, before_checks: bool) -> Fault | None:
        """The first fault that affects this request in this phase. Counts the match."""
        for armed in self._armed:
            if (armed.fault.action in BEFORE_CHECKS) == before_checks and _strikes(armed, target):
                armed.struck += 1
                return armed.fault
        return None


def _strikes(armed: _Armed, target: Target) -> bool:
    fault = armed.fault
    if not fault.strikes_area(target.area) or not _matches(fault, target):
        return False
    armed.matched += 1
    if fault.times is not None and armed.struck >= fault.times:
        return False
    if fault.share is not None and _draw(armed, target) >= fault.share:
        return False
    n = armed.matched
    return (
        (fault.nth is None or n == fault.nth)
        and (fault.every is None or n % fault.every == 0)
        and (fault.first is None or n <= fault.first)
    )


def _matches(fault: Fault, target: Target) -> bool:
    if fault.persons is not None and target.index not in fault.persons:
        return False
    if fault.replicas is not None and _replica(fault.replicas, fault, target) != fault.replica:
        return False
    if fault.off_id_sha256 is None:
        return True
    digest = hashlib.sha256((target.off_id or "").encode()).hexdigest()
    return digest in fault.off_id_sha256


def _replica(count: int, fault: Fault, target: Target) -> int:
    """The replica of a request. Faults with the same ``replicas`` agree on it."""
    number = target.connection if fault.replica_by == "connection" else target.request
    digest = hashlib.blake2b(b"%d" % number, digest_size=8, salt=b"replica").digest()
    return int.from_bytes(digest, "big") % count


def _draw(armed: _Armed, target: Target) -> float:
    """A number in [0, 1), determined by person and fault."""
    text = target.off_id if target.off_id is not None else str(armed.matched)
    digest = hashlib.blake2b(text.encode(), digest_size=8, salt=armed.salt).digest()
    return int.from_bytes(digest, "big") / 2**64
