"""The report in a real Chromium, as a phone, a laptop and paper show it."""

import asyncio
import base64
import re
import shutil
from pathlib import Path

import pytest

from tests.support.report.browser import SIZES, browser, check, chromium
from tests.support.report.month import PERSONS, last_night, month
from tests.support.report.stores import ANY
from tests.support.store_world import world_on
from worker.report.language import LANGUAGES
from worker.report.page import Source, write_report

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        chromium() is None,
        reason="NOT TESTED: there is no Chromium here (apt-get install chromium)",
    ),
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory, migrated_sqlite) -> dict[str, Path]:
    """The report of a month in each language, with exact numbers as well.

    In the last night seven persons are missing, so that no part of the report is absent.
    """
    folder = tmp_path_factory.mktemp("reports")
    shutil.copy(migrated_sqlite, folder / "pts.db")
    found = {
        f"{code}-{cell}": folder / f"{code}-{cell}.html" for code in LANGUAGES for cell in (0, 5)
    }

    async def make() -> None:
        async with world_on(f"sqlite:///{folder / 'pts.db'}") as world:
            await month(world)
            await world.publish(*last_night(world, PERSONS - 7), limits=ANY)
            made_up = Source("test", "999977775", is_made_up=True)
            for name, out in found.items():
                code, _, cell = name.partition("-")
                await write_report(
                    world.database.read,
                    out,
                    now=world.fake.now(),
                    in_language=code,
                    min_cell=int(cell),
                    source=made_up,
                )

    asyncio.run(make())
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(reports, tmp_path, size, scheme):
    """No fault in the console, nothing wider than the screen or cut, and what axe-core asks."""
    async with browser(tmp_path) as tab:
        for report in reports.values():
            await check(tab, report.as_uri(), size, scheme)


async def test_it_prints_on_four_pages(reports, tmp_path):
    """Of A4, in each language, with every code and more clinics than a page has lines for."""
    async with browser(tmp_path) as tab:
        for report in reports.values():
            await tab.ask("Page.navigate", "Page.loadEventFired", url=report.as_uri())
            printed = await tab.ask("Page.printToPDF", preferCSSPageSize=True)
            pages = len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(printed["data"])))
            assert pages <= 4, report.name
