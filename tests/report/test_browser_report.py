"""The report in a real Chromium, as a phone, a laptop and paper show it."""

import asyncio
import base64
import re
import shutil
from pathlib import Path

import pytest

from tests.support.report.browser import SIZES, browser, check, chromium, show
from tests.support.report.month import month
from tests.support.store_world import world_on
from worker.report.html import write_report
from worker.report.language import LANGUAGES

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        chromium() is None,
        reason="NOT TESTED: there is no Chromium here (apt-get install chromium)",
    ),
]
PAGES_MAX = 4


@pytest.fixture(scope="module")
def reports(tmp_path_factory, migrated_sqlite) -> dict[str, Path]:
    """The report of a month in each language."""
    folder = tmp_path_factory.mktemp("reports")
    shutil.copy(migrated_sqlite, folder / "pts.db")
    found = {code: folder / f"{code}.html" for code in LANGUAGES}

    async def make() -> None:
        async with world_on(f"sqlite:///{folder / 'pts.db'}") as world:
            await month(world)
            for code, out in found.items():
                await write_report(world.database.read, out, now=world.fake.now(), in_language=code)

    asyncio.run(make())
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(reports, tmp_path, size, scheme):
    """No fault in the console, nothing wider than the screen or cut, and what axe-core asks."""
    async with browser(tmp_path) as tab:
        for report in reports.values():
            await check(tab, report.as_uri(), size, scheme)


async def test_its_colours_are_applied(reports, tmp_path):
    """The policy lets the page's own style through: a wrong hash would leave it bare."""
    async with browser(tmp_path) as tab:
        backs = set()
        for scheme in ("light", "dark"):
            await show(tab, reports["nb"].as_uri(), "laptop", scheme)
            backs.add(await tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert backs == {"rgb(246, 247, 249)", "rgb(17, 22, 28)"}


@pytest.mark.parametrize("code", LANGUAGES)
async def test_it_is_printed_on_four_pages(reports, tmp_path, code):
    """The first page has the sentence, the tiles and the trend, and ends behind them."""
    async with browser(tmp_path) as tab:
        await show(tab, reports[code].as_uri(), "laptop", "light")
        await tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)")
        printed = await tab.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        pages = re.findall(rb"/Type\s*/Page[^s]", base64.b64decode(printed["data"]))
        assert 2 <= len(pages) <= PAGES_MAX
        # On A4 less its margins the first part must end above the bottom.
        await tab.ask("Emulation.setEmulatedMedia", media="print")
        await tab.ask(
            "Emulation.setDeviceMetricsOverride", width=695, height=1024, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        end = await tab.evaluate("document.querySelector('.notice').getBoundingClientRect().bottom")
        assert end < 1024
