"""The circuit breaker of one area.

    CLOSED     Persons are read. After 20 failed reads in a row, the breaker opens. It also opens
               at the end of a pass with failures left, because no other person can disprove them.
    OPEN       No person is read, and no pass ends. One probe is sent at once, then one every ten
               seconds, across all areas.
    HALF_OPEN  A probe is under way. If it succeeds, the breaker closes. It also closes if a read
               succeeds that was in flight when it opened.
    GIVEN_UP   A probe failed after the breaker had been open for `sync.patience`, or although no
               read of this area has ever succeeded. This attempt sends no more requests for the
               area.

The run continues while one area works. When every area is given up, it ends (`core/verdict.py`).

For example, if PTS is down for two minutes, 20 reads fail, 13 probes follow, the last one succeeds,
and the run continues. If 20 persons fail for reasons of their own, the first probe goes to the
canary, the last person with a successful read. It succeeds and closes the breaker.
"""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from worker.core.model import Person
from worker.errors import (
    AreaError,
    FailureKind,
    HostNameError,
    RefusedError,
    UnavailableError,
    WorkerError,
)

FAILURES_MAX: Final = 20
"""Failed reads in a row, of different persons, that open a breaker. A run of fewer persons cannot
prove that PTS rejects all requests."""
GLOBAL_ERRORS: Final = (HostNameError, RefusedError, UnavailableError)
"""Errors of HelseID, TLS and the name server, which open the breakers of all areas."""
_PROBE_INTERVAL_S: Final = 10.0
_PROBES_MIN: Final = 6
"""Minimum number of probes during `sync.patience`. A short patience shortens the interval."""
_NO_PERSON: Final = ""
"""The key of a failure that does not depend on a person."""


class State(enum.StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    GIVEN_UP = "given up"


class Failure(NamedTuple):
    """A failed read that no later read has disproved.

    Attributes:
        until_s: end of the ``Retry-After`` that a probe of this person obeys.
    """

    person: Person
    error: WorkerError
    until_s: float


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The circuit breaker of one area.

    Attributes:
        patience_s: `sync.patience`.
        wait_s_max: `sync.retry_after_max`. A probe does not obey a longer ``Retry-After``.
        clock: in seconds.
        paused_s: total time of the pauses that PTS asked for. They do not count as patience.
        is_answered: a read succeeded in a publication or an earlier attempt.
        is_answered_with_record: a read with at least one record succeeded.
        on_change: called after a change of state, with the previous state.
        had_outage: a probe has failed in this attempt.
        failures: failed reads in a row by person, latest last.
        canary: the last person of this run with a successful read.
        canary_with_record: the last person of this run with a record in a successful read.
        failed_probes: number of failed probes since the breaker opened.
        open_s: total time that the breaker has been open, in seconds.
    """

    area: str
    patience_s: float
    clock: Callable[[], float]
    wait_s_max: float = math.inf
    paused_s: Callable[[], float] = lambda: 0.0
    is_answered: bool = False
    is_answered_with_record: bool = False
    on_change: Callable[["Breaker", State], None] = lambda _breaker, _before: None
    state: State = State.CLOSED
    had_outage: bool = False
    failures: dict[str, Failure] = field(default_factory=dict)
    canary: Person | None = None
    canary_with_record: Person | None = None
    failed_probes: int = 0
    open_s: float = 0.0
    _opened_s: float = 0.0

    # --- counting ---

    def succeed(self, person: Person, records: int) -> None:
        """Count a complete read. It clears the earlier failures and closes the breaker.

        A read without records clears failures about records only if its person has failed before.
        """
        self.remember(person, records)
        if self.state is State.GIVEN_UP:
            return
        remaining: dict[str, Failure] = {}
        # Most persons have no record, so an empty read proves nothing about records.
        if not records and person.person_key not in self.failures:
            remaining = {
                key: failure
                for key, failure in self.failures.items()
                if _is_about_records(failure.error)
            }
        is_disproved = len(remaining) < len(self.failures)
        self.failures = remaining
        if self.is_open and is_disproved and len(remaining) < FAILURES_MAX:
            self._enter(State.CLOSED)

    def remember(self, person: Person, records: int) -> None:
        """Make a person with a successful read in this run the canary."""
        self.canary = person
        if records:
            self.canary_with_record = person

    def fail(self, person: Person, error: WorkerError, *, persons: int) -> None:
        """Count a failed read, after the retries of its requests.

        Args:
            persons: number of persons that this run has requested so far.
        """
        if self.state is State.GIVEN_UP:
            return
        is_obeyed = error.retry_after_s <= self.wait_s_max
        until_s = self.clock() + (error.retry_after_s if is_obeyed else 0.0)
        # Without HelseID or a connection every read fails, so one failure is enough.
        if isinstance(error, GLOBAL_ERRORS):
            self.failures = {_NO_PERSON: Failure(person, error, until_s)}
            self._open()
            return
        # The request was sent, so HelseID, TLS and the name server work again.
        self.failures.pop(_NO_PERSON, None)
        # Removed even if it is added again, because the latest failure must be the last one.
        self.failures.pop(person.person_key, None)
        if self._may_be_personal(error, persons):
            if self.is_open and not self.failures:
                self._enter(State.CLOSED)
            return
        self.failures[person.person_key] = Failure(person, error, until_s)
        if len(self.failures) >= FAILURES_MAX:
            self._open()

    # --- opening ---

    def end_pass(self) -> None:
        """Open if failures remain that no read has disproved."""
        # No read of another person is left that could disprove them. A probe can.
        if self.failures:
            self._open()

    @property
    def is_open(self) -> bool:
        """Whether it is open or half-open: persons wait for the outcome of probes."""
        return self.state in {State.OPEN, State.HALF_OPEN}

    def _open(self) -> None:
        if self.state is State.CLOSED:
            self._opened_s, self.failed_probes = self._patience_clock(), 0
            self._enter(State.OPEN)

    def _enter(self, state: State) -> None:
        before, self.state = self.state, state
        if not self.is_open:  # closed or given up, so the time since it opened is complete
            self.open_s += self._patience_clock() - self._opened_s
        self.on_change(self, before)

    def _patience_clock(self) -> float:
        return self.clock() - self.paused_s()

    # --- probing ---

    @property
    def probe_interval_s(self) -> float:
        """The time between two probes."""
        return min(_PROBE_INTERVAL_S, self.patience_s / _PROBES_MIN)

    def begin_probe(self) -> Person:
        """Become half-open, and return the person for the probe."""
        person = self._next_person()
        self._enter(State.HALF_OPEN)
        return person

    def probe_wait_s(self) -> float:
        """Seconds until PTS allows the next probe (``Retry-After``)."""
        return max(0.0, self._until_s(self._next_person()) - self.clock())

    def _next_person(self) -> Person:
        """The person for the next probe: the canary and the failed persons take turns.

        A person with a pending ``Retry-After`` is skipped while another one can be probed.
        """
        # The canary's reads may fail by now as well, so probe both groups, and each time the next
        # of the failed persons.
        turn, is_failed_turn = divmod(self.failed_probes, 2)
        start = turn % len(self.failures)
        failed = [failure.person for failure in self.failures.values()]
        failed = failed[start:] + failed[:start]
        canary = self._canary_for(is_about_records=self._are_about_records())
        canaries = [] if canary is None else [canary]
        persons = [*failed, *canaries] if is_failed_turn else [*canaries, *failed]
        # Everyone whose Retry-After is over can be probed now, so `min` returns the first of them.
        now_s = self.clock()
        return min(persons, key=lambda person: max(now_s, self._until_s(person)))

    def _until_s(self, person: Person) -> float:
        failure = self.failures.get(person.person_key)
        return -math.inf if failure is None else failure.until_s

    def end_probe(self) -> None:
        """Stay open after a failed probe, or give up."""
        # A read in flight may have closed the breaker during the probe.
        if self.state is not State.HALF_OPEN:
            return
        self.had_outage = True
        self.failed_probes += 1
        # A first run has nothing to wait for: its configuration may never have been right.
        is_over = self._patience_clock() - self._opened_s >= self.patience_s
        is_hopeless = is_over or not self._was_ever_answered()
        self._enter(State.GIVEN_UP if is_hopeless else State.OPEN)

    def _was_ever_answered(self) -> bool:
        if self._are_about_records():
            return self.is_answered_with_record or self.canary_with_record is not None
        return self.is_answered or self.canary is not None

    # --- failures ---

    @property
    def errors(self) -> Sequence[WorkerError]:
        """The errors of the failures in a row, latest last."""
        return [failure.error for failure in self.failures.values()]

    def _are_about_records(self) -> bool:
        return all(map(_is_about_records, self.errors))

    def _canary_for(self, *, is_about_records: bool) -> Person | None:
        return self.canary_with_record if is_about_records else self.canary

    def _may_be_personal(self, error: WorkerError, persons: int) -> bool:
        """Whether each person of a small run may fail for a reason of their own."""
        is_about_records = _is_about_records(error)
        is_possible = is_about_records or error.kind is FailureKind.REJECTED
        canary = self._canary_for(is_about_records=is_about_records)
        return persons < FAILURES_MAX and is_possible and canary is None


def _is_about_records(error: WorkerError) -> bool:
    # Errors other than an `AreaError` have the kind CONTRACT by default.
    is_contract = error.kind in {FailureKind.CONTRACT, FailureKind.PAGING}
    return is_contract and isinstance(error, AreaError)
