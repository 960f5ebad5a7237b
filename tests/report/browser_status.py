"""The status page of ``schedule`` in a real Chromium, from the real program: ``make test-browser``.

``PTS_WRITE_PICTURE=1`` writes its picture into docs/img.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeDatabase, make_sqlite, standin  # noqa: F401 - fixtures
from tests.acceptance.test_supervised import end, fetch
from tests.support.program import closed_port, wait_for
from tests.support.raw_server import http
from tests.support.report.browser import SIZES, browser, check, show
from tests.support.standin import Standin, person

PICTURE = Path(__file__).parents[2] / "docs/img/status.png"
PERSONS = 40


@pytest.fixture
def url(standin: Standin, tmp_path: Path, make_sqlite: MakeDatabase) -> Iterator[str]:  # noqa: F811
    """The page after a night: published, then PTS was away, and a retry is planned."""
    for number in range(PERSONS):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, make_sqlite())
    assert worker.sync().code == 0
    standin.everybody = lambda _: http(status="503 Service Unavailable")
    port = closed_port()
    worker.configure(
        telemetry={"http_listen": f"127.0.0.1:{port}"},
        sync={"retry_attempts": 1},
        schedule={"cron": "30 3 * * *"},
    )
    running = worker.start("schedule", "--now")
    wait_for(lambda: "Next retry" in fetch(port, "/")[1], "the run's end")
    wait_for(lambda: fetch(port, "/readyz")[0] == 200, "the check")
    yield f"http://127.0.0.1:{port}/"
    end(running)


async def test_the_page_fits_and_can_be_read(url: str, tmp_path: Path):
    """As the report: no fault, no overflow, and contrast and structure as axe-core asks."""
    async with browser(tmp_path / "profile") as tab:
        for size in SIZES:
            for scheme in ("light", "dark"):
                await check(tab, url, size, scheme)
                assert "Next retry" in await tab.evaluate("document.body.innerText")
        backs = set()
        for scheme in ("light", "dark"):
            await show(tab, url, "laptop", scheme)
            backs.add(await tab.evaluate("getComputedStyle(document.querySelector('th')).width"))
        assert backs == {"160px"}  # the page's own style is let through
        if os.environ.get("PTS_WRITE_PICTURE"):
            await show(tab, url, "laptop", "light")
            made = await tab.ask(
                "Page.captureScreenshot",
                clip={"x": 200, "y": 0, "width": 880, "height": 620, "scale": 1},
            )
            PICTURE.write_bytes(base64.b64decode(made["data"]))
