"""The page of ``schedule``, and when its publication is too old."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from worker.app import App
from worker.cli.status_page import Readiness, is_overdue, pages_of
from worker.config import load
from worker.errors import ExitCode
from worker.runtime import real_runtime
from worker.scheduler import RunEnd, ScheduleState
from worker.telemetry.prometheus import Board

OSLO = ZoneInfo("Europe/Oslo")


@pytest.mark.parametrize(
    ("cron", "published", "fresh_until"),
    [
        ("30 3 * * *", (26, 5, 0), (28, 3, 30)),
        ("30 3 * * 1-5", (27, 5, 0), (31, 3, 30)),  # Friday: Monday is tolerated
        ("0 * * * *", (26, 5, 10), (26, 7, 0)),
    ],
)
def test_one_start_that_failed_is_tolerated(
    cron: str, published: tuple[int, int, int], fresh_until: tuple[int, int, int]
) -> None:
    """And two are not, however often it runs."""

    def at(day: int, hour: int, minute: int) -> datetime:
        return datetime(2026, 3, day, hour, minute, tzinfo=OSLO).astimezone(UTC)

    day, hour, minute = fresh_until
    before = at(day, hour, minute - 1) if minute else at(day, hour - 1, 59)
    zone = "Europe/Oslo"
    assert not is_overdue(at(*published), before, cron=cron, timezone=zone)
    assert is_overdue(at(*published), at(*fresh_until), cron=cron, timezone=zone)


def test_text_is_escaped() -> None:
    """No text of a run becomes markup, and the policy allows the page's own style alone."""
    loaded = load({"database.url": "sqlite:///pts.db"}, environ={}, cwd=Path("/"), purpose="report")
    now = datetime(2026, 3, 26, tzinfo=UTC)
    end = RunEnd(
        at=now, exit_code=ExitCode.REFUSED, reason="<script>alert(1)</script>", hint="a & b"
    )
    pages = pages_of(
        App(loaded=loaded, runtime=real_runtime()),
        board=Board(),
        state=ScheduleState(next_at=now, last_end=end),
        readiness=Readiness(),
        progress=lambda: "",
    )
    page = pages["/"]()
    text = page.body.decode()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a &amp; b" in text
    assert page.style_source.startswith("'sha256-")
