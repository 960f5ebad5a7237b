"""What PTS answered to one process, as far as PTS can know: kept for the model."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

Rows = dict[str, int]
"""Restrictions of one person's area: key to revision."""


@dataclass(kw_only=True)
class Connection:
    """A connection of a worker's to PTS, as PTS sees it.

    Attributes:
        requests: how many came on it.
        is_single_use: the worker closes it after an answer.
        is_closed: the worker has closed it.
    """

    number: int
    is_single_use: bool = False
    requests: int = 0
    is_closed: bool = False

    @property
    def is_open(self) -> bool:
        """See ``worker.http.connection.Connection``."""
        return not self.is_closed

    def close(self) -> None:
        """See ``worker.http.connection.Connection``."""
        self.is_closed = True


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
        unfinished: those whose further page, with nothing new, has not come.
        awaited: the same within one read.
        doubtful: answers with a page that the worker may well refuse.
        refusals: requests that were answered with 401, and under no name tokens that were refused.
        searches: requests that reached PTS.
    """

    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=lambda: defaultdict(list))
    passing: dict[tuple[str, str], Answer] = field(default_factory=dict)
    complete: set[tuple[str, str]] = field(default_factory=set)
    unfinished: set[tuple[str, str]] = field(default_factory=set)
    awaited: set[tuple[str, str]] = field(default_factory=set)
    doubtful: set[tuple[str, str]] = field(default_factory=set)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    searches: Counter[tuple[str, str]] = field(default_factory=Counter)
