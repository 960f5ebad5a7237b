"""What ``schedule`` serves on ``telemetry.http_listen``: probes, metrics and a page for people."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from http import HTTPStatus
from typing import Final
from zoneinfo import ZoneInfo

import anyio
import structlog

from worker import __version__
from worker.app import App
from worker.cli.showing import instant
from worker.errors import WorkerError
from worker.scheduler import ScheduleState, next_start
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

_STYLE: Final = (
    ":root{color-scheme:light dark;background:Canvas;color:CanvasText}"
    "body{font:16px/1.5 sans-serif;margin:2em auto;max-width:50em;padding:0 1em;"
    "overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{padding:.3em 0;vertical-align:top;border-bottom:1px solid}"
    "th{text-align:left;padding-right:1.5em;width:10em}"
    "@media(max-width:30em){th{padding-right:1em;width:6em}}"
)
_STYLE_SOURCE: Final = (
    f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


@dataclass(slots=True, kw_only=True)
class Readiness:
    """The last check for ``/readyz``.

    Attributes:
        problems: what is not as it should be; empty if the worker is ready.
        published_at: the last full publication; None if there is none, or if it is unknown.
        checked_at: when that was checked.
        is_outdated: set it to have that checked anew at once.
        is_board_filled: the metrics have what the database knows.
    """

    problems: tuple[str, ...] = ("not checked yet",)
    published_at: datetime | None = None
    checked_at: datetime | None = None
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
        readiness.checked_at = app.runtime.now()
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
    readiness.published_at = None if last is None else last.published_at
    if readiness.published_at is None:
        return ("nothing has been published yet",)
    if is_overdue(
        readiness.published_at,
        app.runtime.now(),
        cron=schedule.cron,
        timezone=schedule.timezone,
    ):
        return ("last publication is older than two scheduled starts",)
    return ()


def pages_of(
    app: App,
    *,
    board: Board,
    state: ScheduleState,
    readiness: Readiness,
    progress: Callable[[], str],
) -> Pages:
    """``/``, ``/healthz``, ``/readyz`` and ``/metrics``."""
    return {
        "/": lambda: _status(app, state, readiness, progress()),
        "/healthz": lambda: Page(body=b"ok\n"),
        "/readyz": lambda: _ready(readiness),
        "/metrics": lambda: metrics_page(board),
    }


def _ready(readiness: Readiness) -> Page:
    if not readiness.problems:
        return Page(body=b"ready\n")
    text = "".join(f"{problem}\n" for problem in readiness.problems)
    return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=text.encode())


def _status(app: App, state: ScheduleState, readiness: Readiness, progress: str) -> Page:
    schedule, end = app.settings.schedule, state.last_end
    running = state.running_since
    rows = {
        "State": f"running since {instant(running)}" if running else "waiting",
        "Progress": progress,
        "Ready": "; ".join(readiness.problems) or "yes",
        "Checked": readiness.checked_at and instant(readiness.checked_at),
        "Last publication": instant(readiness.published_at),
        "Last run": end and f"ended {instant(end.at)} with {int(end.exit_code)}",
        "Reason": end and end.reason,
        "What to do": end and end.hint,
        "Next retry": state.retry_at and instant(state.retry_at),
        "Next start": instant(state.next_at),
        "Schedule": f"{schedule.cron} ({schedule.timezone})",
        "Version": __version__,
    }
    lines = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(text)}</td></tr>"
        for name, text in rows.items()
        if text
    )
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
        'content="width=device-width">'
        f"<title>pts-worker schedule</title><style>{_STYLE}</style>"
        f"<main><h1>pts-worker schedule</h1><table>{lines}</table>"
        f"<p>As of {instant(app.runtime.now())}. "
        '<a href="/">Reload</a>, <a href="/metrics">metrics</a>, '
        '<a href="/readyz">readiness</a></p></main></html>'
    )
    return Page(
        body=body.encode(), content_type="text/html; charset=utf-8", style_source=_STYLE_SOURCE
    )
