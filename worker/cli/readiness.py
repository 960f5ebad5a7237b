"""What ``schedule`` serves on ``telemetry.http_listen``: probes and metrics."""

from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final
from zoneinfo import ZoneInfo

import anyio
import structlog

from worker.app import App
from worker.errors import WorkerError
from worker.scheduler import next_start
from worker.store.queries.status import last_full_publication
from worker.telemetry.http_server import Page, Pages
from worker.telemetry.prometheus import Board, metrics_page
from worker.use_cases.known_metrics import known_metrics

log = structlog.get_logger(__name__)

CHECK_S: Final = 30.0
"""Seconds between two checks of the database for ``/readyz``."""
_PATIENCE_S: Final = 2.0
_CHECK_S_MAX: Final = 5.0
"""Of a check, which a stop waits for."""


@dataclass(slots=True, kw_only=True)
class Readiness:
    """The last check for ``/readyz``.

    Attributes:
        problems: what is not as it should be; empty if the worker is ready.
        is_outdated: set it to have that checked anew at once.
        is_board_filled: the metrics have what the database knows.
    """

    problems: tuple[str, ...] = ("not checked yet",)
    is_outdated: anyio.Event = field(default_factory=anyio.Event)
    is_board_filled: bool = False


def is_overdue(published_at: datetime, now: datetime, *, cron: str, timezone: str) -> bool:
    """Whether two scheduled starts have passed since the last publication.

    One start that failed is tolerated and two are not, however often the schedule runs.
    """
    at: datetime | None = published_at.astimezone(ZoneInfo(timezone))
    for _ in range(2):
        at = None if at is None else next_start(cron, at)
    return at is not None and now >= at


async def keep_checking(app: App, readiness: Readiness, board: Board) -> None:
    """Check the database and the age of the publication every 30 s, and after each run.

    The first time that the database can be used, the board gets what it knows: a restart is no
    gap in the metrics, in which alerts would come and go.
    """
    while True:
        readiness.problems = await _problems(app, readiness, board)
        with anyio.move_on_after(CHECK_S):
            await readiness.is_outdated.wait()
        readiness.is_outdated = anyio.Event()


async def _problems(app: App, readiness: Readiness, board: Board) -> tuple[str, ...]:
    schedule = app.settings.schedule
    try:
        # A connection to SQLite that is cancelled while it opens leaves a thread that never ends.
        with anyio.CancelScope(shield=True), anyio.fail_after(_CHECK_S_MAX):
            async with app.database(patience_s_max=_PATIENCE_S) as store:
                last = await store.read(last_full_publication)
                if not readiness.is_board_filled:
                    board.fill(await known_metrics(store))
                    readiness.is_board_filled = True
    except (WorkerError, TimeoutError) as error:
        code = int(error.exit_code) if isinstance(error, WorkerError) else 69
        log.debug("schedule.not_ready", code=code)
        return (f"database cannot be used ({code}); run pts-worker doctor",)
    published_at = None if last is None else last.published_at
    if published_at is None:
        return ("nothing has been published yet",)
    if is_overdue(
        published_at,
        app.runtime.now(),
        cron=schedule.cron,
        timezone=schedule.timezone,
    ):
        return ("last publication is older than two scheduled starts",)
    return ()


def pages_of(board: Board, readiness: Readiness) -> Pages:
    """``/healthz``, ``/readyz`` and ``/metrics``."""
    return {
        "/healthz": lambda: Page(body=b"ok\n"),
        "/readyz": lambda: _ready(readiness),
        "/metrics": lambda: metrics_page(board),
    }


def _ready(readiness: Readiness) -> Page:
    if not readiness.problems:
        return Page(body=b"ready\n")
    text = "".join(f"{problem}\n" for problem in readiness.problems)
    return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=text.encode())
