"""The report in a real Chromium, as a phone, a laptop and paper show it."""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.report.month import PERSONS, last_night, month
from tests.support.report.stores import ANY
from tests.support.store_world import world_on
from worker.report.language import LANGUAGES
from worker.report.page import Source, write_report

START_S_MAX = 30
AXE = Path(__file__).parents[2] / ".venv-browser/node_modules/axe-core/axe.min.js"
SIZES = {"phone": (375, 812), "laptop": (1280, 800)}


class Tab:
    """A page of the browser, over the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.faults: list[str] = []

    async def ask(self, method: str, until: str = "", **params: Any) -> Any:
        """Send a command; the answer, or that of an event that follows it."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        result = None
        async for message in self._socket:
            found = message.json()
            if found.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.faults.append(json.dumps(found["params"]))
            if found.get("method") == "Runtime.consoleAPICalled":
                self.faults.append(json.dumps(found["params"]))
            if found.get("id") == number:
                assert "error" not in found, found
                result = found["result"]
                if not until:
                    return result
            elif until and found.get("method") == until:
                return result
        raise AssertionError("the browser went away")

    async def evaluate(self, script: str) -> Any:
        found = await self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")


def chromium() -> str | None:
    """The path of a Chromium on this machine; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A Chromium without a screen, with a profile of its own."""
    program = chromium()
    assert program, "there is no Chromium here"
    # Its own sandbox needs another user than root.
    more = ["--no-sandbox"] if os.geteuid() == 0 else []
    flags = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", *more]
    flags.append("--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        program, *flags, f"--user-data-dir={folder}", "about:blank", stderr=subprocess.DEVNULL
    )
    try:
        port = await _port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (page,) = [one for one in await answer.json() if one["type"] == "page"]
            url = page["webSocketDebuggerUrl"]
            async with http.ws_connect(url, max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Log", "Runtime"):
                    await tab.ask(f"{domain}.enable")
                yield tab
    finally:
        process.kill()
        await process.wait()


async def _port(file: Path) -> int:
    for _ in range(START_S_MAX * 10):
        with suppress(OSError, IndexError):
            return int(file.read_text().split()[0])  # noqa: ASYNC240 - a line
        await asyncio.sleep(0.1)
    raise AssertionError("Chromium did not start")


async def show(tab: Tab, url: str, size: str, scheme: str) -> None:
    """Open a page on a screen of this size."""
    width, height = SIZES[size]
    await tab.ask(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=size == "phone",
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    await tab.ask("Emulation.setEmulatedMedia", features=[feature])
    await tab.ask("Page.navigate", "Page.loadEventFired", url=url)
    # What is folded is to fit as well, and to be read.
    await tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


CLIPPED = """
[...document.querySelectorAll('body *')].filter(one => {
  const place = one.getBoundingClientRect(), style = getComputedStyle(one)
  if (one.closest('svg, .spoken, details') || !place.width) return false
  const isCut = one.scrollWidth > one.clientWidth + 1 && style.overflowX !== 'visible'
  const isOut = place.right > WIDTH + 1 && !one.closest('.table')
  return isCut || isOut
}).map(one => one.outerHTML.slice(0, 120))
"""


HIDDEN = """
[...document.querySelectorAll('.table :is(th, td):not(.bars)')]
  .filter(cell => !cell.clientWidth || !cell.clientHeight).map(cell => cell.outerHTML)
"""


async def check(tab: Tab, url: str, size: str, scheme: str) -> None:
    """No fault in the console, nothing wider than the screen or cut, and what axe-core asks."""
    await show(tab, url, size, scheme)
    assert tab.faults == [], url
    # A phone's window grows with a page that is too wide.
    width = SIZES[size][0]
    assert width >= await tab.evaluate("document.documentElement.scrollWidth"), url
    assert await tab.evaluate(HIDDEN) == [], f"{url}: a cell without room"
    # The long tables that are folded may be scrolled on a phone.
    assert await tab.evaluate(CLIPPED.replace("WIDTH", str(width))) == [], url
    if AXE.exists():
        await show(tab, url, size, scheme)
        await tab.evaluate(AXE.read_text("utf-8"))
        asked = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'best-practice']})"
        found = await tab.evaluate(
            f"{asked}.then(all => all.violations.map(one => [one.id, one.nodes[0].html]))"
        )
        assert found == [], f"{url}: {found}"


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


PRINT_PX = (703, 1032)
"""An A4 page without its margins."""
UNBREAKABLE = """
[...document.querySelectorAll('body *')]
  .filter(box => getComputedStyle(box).breakInside === 'avoid' && box.clientHeight > LIMIT)
  .map(box => box.outerHTML.slice(0, 120))
"""


async def test_no_printed_page_is_half_empty(reports, tmp_path):
    """The gap at the end of a page is at most as high as a box that may not be broken."""
    width, height = PRINT_PX
    async with browser(tmp_path) as tab:
        await tab.ask("Emulation.setEmulatedMedia", media="print")
        await tab.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        for report in reports.values():
            await tab.ask("Page.navigate", "Page.loadEventFired", url=report.as_uri())
            limit = str(height // 3)
            assert await tab.evaluate(UNBREAKABLE.replace("LIMIT", limit)) == [], report.name


async def test_it_prints_on_four_pages(reports, tmp_path):
    """Of A4, in each language, with every code and more clinics than a page has lines for."""
    async with browser(tmp_path) as tab:
        for report in reports.values():
            await tab.ask("Page.navigate", "Page.loadEventFired", url=report.as_uri())
            printed = await tab.ask("Page.printToPDF", preferCSSPageSize=True)
            pages = len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(printed["data"])))
            assert pages <= 4, report.name
