"""The report in a real Chromium, as a phone, a laptop and paper show it: ``make test-browser``."""

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
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.report.support import NEVER, missed, privacy, safety, seen
from tests.store.test_store_scenarios import World, world_on
from worker.areas.codes import codes
from worker.core.guard import GuardLimits
from worker.core.model import RunStatus
from worker.errors import ExitCode
from worker.report.html import write_report
from worker.report.language import LANGUAGES
from worker.store.runs.undo import undo_run

NIGHTS, WITHHELD_NIGHT, PERSONS, CLINICS = 31, 20, 90, 18
PAGES_MAX = 4
START_S_MAX = 30
AXE = Path(__file__).parents[2] / ".venv-browser/node_modules/axe-core/axe.min.js"
SIZES = {"phone": (390, 844), "laptop": (1280, 800)}
DENIED = [one.code for one in codes() if one.system == "9603" and one.code != "N"]


async def month(world: World) -> None:
    """All codes, delays, long names of clinics, a withheld night, and persons who are missed."""
    limits = GuardLimits(max_removed_share=1.0, min_completeness=0.0, accept_removals=True)
    for night in range(NIGHTS):
        turn = await world.begin()
        if night == WITHHELD_NIGHT:
            await turn.write(seen(world, 1, cohort="Clinic 1"))
            await undo_run(
                world.database,
                turn.lease,
                turn.writer.handle.run_id,
                status=RunStatus.WITHHELD,
                exit_code=ExitCode.WITHHELD,
                reason="too many removals",
            )
        else:
            await turn.write(*(_read(world, night, n) for n in range(PERSONS)))
            await turn.publish(limits=limits)
        world.fake.advance(86_400 - 61.5)


def _read(world: World, night: int, number: int) -> Any:
    cohort = f"Klinikk for sjeldne tilstander {number % CLINICS}"
    if night == NIGHTS - 1 and number < 2:
        return missed(world, number, cohort=cohort)
    until = world.fake.now() + timedelta(days=number % 100)
    found = [safety(f"d{number}", "NORU", until)] if (number + night) % 5 else []
    if number % 2:
        found.append(safety(f"s{number}", DENIED[number % len(DENIED)], NEVER))
    kind, level = ("Block", "Shield")[number % 2], ("Soft", "Hard")[number % 4 // 2]
    private = (privacy(f"p{number}", kind, level),) if number % 3 == 0 else ()
    return seen(world, number, *found, private=private, cohort=cohort)


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
        """The value of a script."""
        found = await self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A Chromium without a screen, with a profile of its own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)))
    assert program
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


async def show(tab: Tab, report: Path, size: str, scheme: str) -> None:
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
    await tab.ask("Page.navigate", "Page.loadEventFired", url=report.as_uri())
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_it_fits_and_can_be_read(reports, tmp_path, size, scheme):
    """No fault in the console, nothing wider than the screen or cut, and what axe-core asks."""
    async with browser(tmp_path) as tab:
        for code, report in reports.items():
            await show(tab, report, size, scheme)
            assert [] == tab.faults, code
            # A phone's window grows with a page that is too wide.
            width = SIZES[size][0]
            assert width >= await tab.evaluate("document.documentElement.scrollWidth"), code
            # The long tables that are folded may be scrolled on a phone.
            assert [] == await tab.evaluate(CLIPPED.replace("WIDTH", str(width))), code
            if AXE.exists():
                await show(tab, report, size, scheme)
                await tab.evaluate(AXE.read_text("utf-8"))
                asked = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'best-practice']})"
                found = await tab.evaluate(
                    f"{asked}.then(all => all.violations.map(one => [one.id, one.nodes[0].html]))"
                )
                assert [] == found, code


async def test_its_colours_are_applied(reports, tmp_path):
    """The policy lets the page's own style through: a wrong hash would leave it bare."""
    async with browser(tmp_path) as tab:
        backs = set()
        for scheme in ("light", "dark"):
            await show(tab, reports["nb"], "laptop", scheme)
            backs.add(await tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert {"rgb(246, 247, 249)", "rgb(17, 22, 28)"} == backs


@pytest.mark.parametrize("code", LANGUAGES)
async def test_it_is_printed_on_four_pages(reports, tmp_path, code):
    """The first page has the sentence, the tiles and the trend, and ends behind them."""
    async with browser(tmp_path) as tab:
        await show(tab, reports[code], "laptop", "light")
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
