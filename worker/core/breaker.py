"""The circuit breaker of one area: whether persons may be asked, and what follows failed reads.

    CLOSED     Persons are asked. 20 failed reads in a row open it. At the end of a pass, when no
               other person is left to ask, one failed read is enough.
    OPEN       No person is asked, and no pass ends. One probe goes out at once, and then one every
               ten seconds.
    HALF_OPEN  A probe is under way. A successful read closes the breaker. So does a read that was
               in flight when it opened.
    GIVEN_UP   It stayed open for `sync.patience`, or no read of this area ever succeeded. This
               attempt asks no person in this area any more.

The run goes on while one area works. When every area is given up, it ends with ``verdict``.

For example, if PTS is away for two minutes, 20 reads fail, 13 probes follow, the last one succeeds,
and the run continues. If 20 persons fail for reasons of their own, the first probe goes to the
canary, the last person who was read. It succeeds and closes the breaker.

Times are in seconds of a clock that stands still while PTS has asked everyone to wait.
"""

import enum
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from worker.core.model import Person
from worker.core.retry import instant_after
from worker.errors import (
    AreaError,
    DataContractError,
    FailureKind,
    RefusedError,
    UnavailableError,
    WorkerError,
)

FAILURES_MAX: Final = 20
"""Failed reads in a row, of different persons, that open a breaker. A run of fewer persons has no
evidence that PTS rejects everyone."""
_PROBE_INTERVAL_S: Final = 10.0
_PROBES_MIN: Final = 6
"""Probes during `sync.patience`: if that is short, the interval is, too."""
_CANARIES: Final = 3
_EVERYONE: Final = ""
"""The key of a failure that is about no person."""


class State(enum.StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    GIVEN_UP = "given up"


class Failure(NamedTuple):
    """A failed read that no later read has disproved."""

    person: Person
    error: WorkerError


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The circuit breaker of one area.

    Attributes:
        patience_s: `sync.patience`.
        is_answered: a read succeeded, in a publication or in this run.
        is_answered_with_record: a read with at least one record did.
        had_outage: a probe has failed since the pass began.
        failures: failed reads in a row, by person.
        canaries: the last persons of this run who were read; one of them may fail by chance.
        canaries_with_record: the last ones whose read held a record.
    """

    area: str
    patience_s: float
    is_answered: bool = False
    is_answered_with_record: bool = False
    state: State = State.CLOSED
    had_outage: bool = False
    failures: dict[str, Failure] = field(default_factory=dict)
    canaries: deque[Person] = field(default_factory=partial(deque, maxlen=_CANARIES))
    canaries_with_record: deque[Person] = field(default_factory=partial(deque, maxlen=_CANARIES))
    _is_last_failed: bool = False
    _opened_s: float = 0.0
    _probes: int = 0

    # --- counting ---

    def succeed(self, person: Person, records: int) -> None:
        """Count a complete read, which may close the breaker.

        It disproves the failures before it. Failures about records of other persons are disproved
        only by a read that held a record: most persons have none, and their empty answers prove
        nothing.
        """
        self.remember(person, records)
        if self.state is State.GIVEN_UP:
            return
        self._is_last_failed = False
        remaining = {
            key: failure
            for key, failure in self.failures.items()
            if _is_about_records(failure.error) and not records and key != person.person_key
        }
        is_disproved = len(remaining) < len(self.failures)
        self.failures = remaining
        if self.is_open and is_disproved and len(remaining) < FAILURES_MAX:
            self.state = State.CLOSED

    def remember(self, person: Person, records: int) -> None:
        """Note a person whom this run has read: they can serve as a canary."""
        self.is_answered = True
        self.canaries.appendleft(person)
        if records:
            self.is_answered_with_record = True
            self.canaries_with_record.appendleft(person)

    def fail(self, person: Person, error: AreaError, now_s: float, *, persons: int) -> None:
        """Count a failed read, after the retries of its requests.

        Args:
            persons: asked by this run. If they are few and none could be read, PTS may have good
                reasons to reject each of them.
        """
        if error.is_wait_obeyed or self._is_personal(error, persons):
            return
        if self.state is State.GIVEN_UP:
            return
        self.failures.pop(_EVERYONE, None)  # HelseID works again
        self.failures[person.person_key] = Failure(person, error)
        self._is_last_failed = True
        if len(self.failures) >= FAILURES_MAX:
            self._open(now_s)

    def fail_for_everyone(self, person: Person, error: WorkerError, now_s: float) -> None:
        """Open at once: the error, such as HelseID's, cannot be about one person."""
        if self.state is not State.GIVEN_UP:
            self.failures = {_EVERYONE: Failure(person, error)}
            self._open(now_s)

    # --- opening ---

    def begin_pass(self) -> None:
        """Forget what happened in the pass before."""
        self.had_outage = self._is_last_failed = False

    def end_pass(self, now_s: float) -> None:
        """Open if the last read failed, because no other person is left to ask."""
        if self._is_last_failed and self.failures:
            self._open(now_s)

    def _open(self, now_s: float) -> None:
        if self.state is State.CLOSED:
            self.state, self._opened_s, self._probes = State.OPEN, now_s, 0

    @property
    def is_open(self) -> bool:
        """Whether it is open or half-open: persons wait for the outcome of probes."""
        return self.state in {State.OPEN, State.HALF_OPEN}

    @property
    def may_probe(self) -> bool:
        """Whether it is open, and no probe is under way."""
        return self.state is State.OPEN

    @property
    def is_outage(self) -> bool:
        """Whether it is open, and a probe has failed."""
        return self.is_open and self._probes > (self.state is State.HALF_OPEN)

    # --- probing ---

    @property
    def probe_interval_s(self) -> float:
        """The time between two probes."""
        return min(_PROBE_INTERVAL_S, self.patience_s / _PROBES_MIN)

    def begin_probe(self) -> Person:
        """The person whom the next probe asks: canaries and those who failed take turns."""
        turn, self._probes = self._probes, self._probes + 1
        self.state = State.HALF_OPEN
        failed = [failure.person for failure in self.failures.values()]
        canaries = self._canaries(is_about_records=self._are_about_records())
        if not canaries:
            return failed[turn % len(failed)]
        persons = failed if turn % 2 else canaries
        return persons[turn // 2 % len(persons)]

    def postpone_probe(self) -> None:
        """Stay open: PTS has asked to wait for this person."""
        self.state = State.OPEN

    def end_probe(self, now_s: float) -> None:
        """After a failed probe: stay open, or give up."""
        if self.state is State.HALF_OPEN:
            self.had_outage = True
            is_over = now_s - self._opened_s >= self.patience_s or not self._was_ever_answered()
            self.state = State.GIVEN_UP if is_over else State.OPEN

    def _was_ever_answered(self) -> bool:
        return self.is_answered_with_record if self._are_about_records() else self.is_answered

    def _are_about_records(self) -> bool:
        return all(_is_about_records(error) for _, error in self.failures.values())

    def _canaries(self, *, is_about_records: bool) -> Sequence[Person]:
        return self.canaries_with_record if is_about_records else self.canaries

    def _is_personal(self, error: AreaError, persons: int) -> bool:
        """Whether a failure in a small run is of this person alone."""
        is_about_records = _is_about_records(error)
        is_possible = is_about_records or error.kind is FailureKind.REJECTED
        has_canary = bool(self._canaries(is_about_records=is_about_records))
        return persons < FAILURES_MAX and is_possible and not has_canary


# --- the end of a run ---


def verdict(breakers: Iterable[Breaker], *, wait_s_max: float, now: datetime) -> WorkerError:
    """The error that ends a run in which every area was given up.

    One kind of failure has its own exit code. Mixed kinds are 69.

    Args:
        wait_s_max: `sync.retry_after_max`.
    """
    errors = [error for breaker in breakers for _, error in breaker.failures.values()]
    if all(error.retry_after_s > wait_s_max for error in errors):
        until = instant_after(now, max(error.retry_after_s for error in errors))
        return UnavailableError(
            f"PTS asks for a pause until {until.isoformat(timespec='seconds')} (Retry-After), "
            "longer than sync.retry_after_max",
            hint="run again after that time; it continues within sync.continue_within",
        )
    kinds, last = Counter(map(_merged, errors)), errors[-1]
    if len(kinds) > 1:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return _UNAVAILABLE.error_of(f"{counts}; the last with: {last.message}")
    if not isinstance(last, AreaError):
        return last
    counts = f"{len(errors)} person-areas in a row"
    return _VERDICTS[_merged(last)].error_of(f"{counts}, the last with: {last.message}")


def verdict_of(error: AreaError) -> WorkerError:
    """The error that ends a command whose only request failed."""
    kind = _VERDICTS[_merged(error)]
    return kind.error(f"PTS: {error.message}", hint=error.hint or kind.hint)


class _Verdict(NamedTuple):
    error: type[WorkerError]
    message: str
    hint: str

    def error_of(self, reason: str) -> WorkerError:
        return self.error(self.message.format(reason=reason), hint=self.hint)


_UNAVAILABLE: Final = _Verdict(
    UnavailableError,
    "PTS is unavailable: no request succeeds ({reason})",
    "run again later, which continues; `pts-worker doctor` checks api.base_url and the network",
)
_VERDICTS: Final[Mapping[FailureKind, _Verdict]] = {
    FailureKind.TRANSIENT: _UNAVAILABLE,
    FailureKind.REFUSED: _Verdict(
        RefusedError,
        "PTS denies this client: all requests are refused ({reason})",
        "compare helseid.scope and the organisation numbers with the client in HelseID "
        "self-service; `pts-worker doctor` shows each step",
    ),
    FailureKind.REJECTED: _Verdict(
        DataContractError,
        "PTS rejects every request ({reason})",
        "check api.base_url with `pts-worker doctor --probe`, and the path and the body that the "
        "contract declares (`pts-worker contract show`)",
    ),
    FailureKind.CONTRACT: _Verdict(
        DataContractError,
        "PTS answers in a shape that is not declared ({reason})",
        "see `pts-worker failures list`; `pts-worker contract learn` proposes what to declare",
    ),
}


def _merged(error: WorkerError) -> FailureKind:
    return FailureKind.CONTRACT if error.kind is FailureKind.PAGING else error.kind


def _is_about_records(error: WorkerError) -> bool:
    return isinstance(error, AreaError) and _merged(error) is FailureKind.CONTRACT
