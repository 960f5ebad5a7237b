"""What PTS answered to one process, as far as PTS can know: kept for the model."""

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

ON_THE_WAY_S = 15.0
"""A request that may go fetches a token, perhaps, before it is sent."""
LAST, MANY = 10, 3
"""So many of the last answers, to different persons, that ask for silence ask everybody for it."""
Rows = dict[str, int]
"""Restrictions of one person's area: key to revision."""


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
    """What one process was answered: the complete answers of each person-area, in order.

    Attributes:
        passing: what the pages of an answer have held so far.
        complete: those whose pages so far are an answer among ``answers``.
        doubtful: answers with a page that the worker may well refuse.
        refusals: requests that were answered with 401; after two of them a request may go on
            another connection.
        searches: requests that reached PTS.
        hasty: those of them that came within a silence that PTS had asked for.
        silent_since_s, silent_until_s: that silence.
    """

    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=lambda: defaultdict(list))
    passing: dict[tuple[str, str], Answer] = field(default_factory=dict)
    complete: set[tuple[str, str]] = field(default_factory=set)
    doubtful: set[tuple[str, str]] = field(default_factory=set)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    searches: Counter[tuple[str, str]] = field(default_factory=Counter)
    hasty: int = 0
    silent_since_s: float = math.inf
    silent_until_s: float = 0.0
    last: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=LAST))

    def answer(self, key: tuple[str, str], now_s: float, silence_s: float) -> None:
        """PTS answered, and perhaps asked for silence, which few answers do not ask everybody for.

        Who was on the way to it then may still come.
        """
        self.last.append((key[0], silence_s > 0))
        if len({off_id for off_id, is_asked in self.last if is_asked}) < MANY:
            return
        if now_s >= self.silent_until_s:
            self.silent_since_s = now_s
        self.silent_until_s = max(self.silent_until_s, now_s + silence_s)

    def search(self, key: tuple[str, str], now_s: float) -> None:
        """A search reached PTS."""
        self.searches[key] += 1
        self.hasty += self.silent_since_s + ON_THE_WAY_S < now_s < self.silent_until_s
