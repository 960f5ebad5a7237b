"""The page of ``schedule``: when its publication is too old, and what it shows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.clock import OSLO
from worker.app import App
from worker.cli.status_page import Readiness, is_overdue, pages_of
from worker.config import load
from worker.errors import ExitCode
from worker.runtime import real_runtime
from worker.scheduler import RunEnd, ScheduleState
from worker.telemetry.prometheus import Board


@pytest.mark.promise("8")
def test_one_start_that_failed_is_tolerated_and_text_is_escaped() -> None:
    """Two are not. No text of a run becomes markup, and only the page's own style is allowed."""
    published = datetime(2026, 3, 26, 5, tzinfo=OSLO).astimezone(UTC)
    before, now = (datetime(2026, 3, 28, hour, tzinfo=OSLO).astimezone(UTC) for hour in (2, 4))
    assert not is_overdue(published, before, cron="30 3 * * *", timezone="Europe/Oslo")
    assert is_overdue(published, now, cron="30 3 * * *", timezone="Europe/Oslo")
    loaded = load({"database.url": "sqlite:///pts.db"}, environ={}, cwd=Path("/"), purpose="report")
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
    assert "<script" not in page.body.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.body.decode()
    assert page.style_source.startswith("'sha256-")
