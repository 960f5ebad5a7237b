"""The HTML report from real stores."""

import re
import stat
from html.parser import HTMLParser

import pytest

from tests.report.support import missed, privacy, safety, seen, small_store
from tests.store.test_store_scenarios import world_on
from worker.core.model import RunKind
from worker.errors import ConfigurationError
from worker.report.charts import ticks
from worker.report.html import write_report
from worker.report.words import ago, group_of, lasted

IDENTIFIER = "01869912345"


class Outline(HTMLParser):
    """Checks that elements nest, and collects what a test asks for."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


async def report_of(world, out, **options):
    await write_report(world.database.read, out, now=world.fake.now(), **options)
    page = out.read_text("utf-8")
    return page, Outline(page)


async def test_the_report_needs_nothing_else(database_url, tmp_path):
    """One private file that loads and runs nothing; each picture has a title and a table."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        out = tmp_path / "report.html"
        out.write_text("an older report")
        page, outline = await report_of(world, out)
        assert 0o600 == stat.S_IMODE(out.stat().st_mode)
        assert [] == [path.name for path in tmp_path.glob(".report*")]
        assert not re.search(r"https?://|url\(|@import|javascript:|//[a-z]", page)
        assert not {"script", "link", "img", "iframe", "object", "a"} & set(outline.tags)
        assert not [name for name, _ in outline.attributes if name in {"src", "href"}]
        assert not [name for name, _ in outline.attributes if name.startswith("on")]
        pictures = re.findall(r'<svg viewBox="[^"]+" role="img" class="chart">(.{90})', page)
        assert 6 == len(pictures)
        assert all(re.match(r"<title>[^<]+</title><desc>", start) for start in pictures)
        assert outline.tags.count("table") >= len(pictures)
        assert "Generated with" not in page


async def test_what_is_listed_adds_up_to_what_is_in_effect(database_url, tmp_path):
    """A table leads from all that PTS lists to what restricts now."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        page, _ = await report_of(world, tmp_path / "report.html")
    (table,) = re.findall(r"<caption>From what is listed.*?</table>", page, re.DOTALL)
    lines = [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in table.split("</tr>")[1:-1]
    ]
    assert [
        ["listed by PTS", "15", "3"],
        ["less: the code restricts nothing", "6", "0"],
        ["less: the time is over", "1", "0"],
        ["less: not begun yet", "0", "0"],
        ["in effect", "8", "3"],
    ] == lines


async def test_the_head_says_what_the_copy_is_worth(sqlite_url, tmp_path):
    """Publication, age, run and state in plain words, in UTC and the local zone."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        world.fake.advance(3 * 3600)
        _, outline = await report_of(world, tmp_path / "r.html")
        assert (
            "Published 2026-03-29 22:18 UTC, 2026-03-30 00:18 CEST (3 h ago), run 2, with gaps"
            in outline.text
        )
        assert "1 of 10 persons could not be confirmed" in outline.text
        assert "must never decide who may see what" in outline.text
        world.fake.advance(3 * 86_400)
        _, outline = await report_of(world, tmp_path / "r.html", timezone="Asia/Tokyo")
        assert "Stale: last published 2026-03-29 22:18 UTC, 2026-03-30 07:18 JST" in outline.text
        assert "(3 days ago), run 2" in outline.text


async def test_a_fresh_backfill_does_not_hide_an_old_copy(sqlite_url, tmp_path):
    """The headline tells the age of the last full run, and not that of the backfill after it."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        world.fake.advance(3 * 86_400)
        turn = await world.begin(RunKind.BACKFILL)
        await turn.write(seen(world, 1, ref="R-1"))
        await turn.publish(may_depart=False)
        _, outline = await report_of(world, tmp_path / "r.html")
        assert "Stale: last published 2026-03-29 22:18 UTC" in outline.text
        assert "(3 days ago), run 2" in outline.text
        assert "Run 3 after it was a backfill of some persons." in outline.text
        assert "That was a backfill" not in outline.text


async def test_a_complete_copy_says_complete(sqlite_url, tmp_path):
    """The good news is as plain as the bad."""
    async with world_on(sqlite_url) as world:
        turn = await world.begin()
        await turn.write(seen(world, 1, safety("a", "N")))
        await turn.publish()
        _, outline = await report_of(world, tmp_path / "r.html")
        assert re.search(r"Published [^.]+\(1 min ago\), run 1, complete", outline.text)
        assert "No person is stale." in outline.text
        assert "No restriction is in effect in this area." in outline.text


async def test_an_empty_store_says_what_to_do(sqlite_url, tmp_path):
    """Before the first run the report names the command that helps."""
    async with world_on(sqlite_url) as world:
        _, outline = await report_of(world, tmp_path / "r.html")
        assert "Nothing has been published yet" in outline.text
        assert "Run pts-worker sync once" in outline.text
        assert "svg" not in outline.tags


async def test_a_published_run_without_any_restriction(sqlite_url, tmp_path):
    """A roster of unrestricted persons makes a report without empty pictures."""
    async with world_on(sqlite_url) as world:
        turn = await world.begin()
        await turn.write(seen(world, 1), seen(world, 2))
        await turn.publish()
        _, outline = await report_of(world, tmp_path / "r.html")
        assert "No restriction has been published yet." in outline.text
        assert 2 == outline.tags.count("svg")


async def test_a_long_history_and_many_stale_persons(sqlite_url, tmp_path):
    """What is beyond the first rows is folded away, or counted."""
    async with world_on(sqlite_url) as world:
        for day in range(12):
            turn = await world.begin()
            await turn.write(*(seen(world, number, safety("s", "N")) for number in range(10 + day)))
            await turn.publish()
            world.fake.advance(86_400)
        turn = await world.begin()
        await turn.write(*(missed(world, 1_000 + number) for number in range(100)))
        await turn.publish(may_depart=False)
        _, outline = await report_of(world, tmp_path / "r.html")
        assert 1 == outline.tags.count("details")
        assert re.search(
            r"The last 14 days\.\s+The first reading, on 2026-03-28, found 10 restr", outline.text
        )
        assert "pts-worker failures list tells more. The first 100 are listed." in outline.text


async def test_text_from_pts_is_shown_and_never_run(sqlite_url, tmp_path):
    """Codes are open text: markup in them is escaped, length is cut, nothing breaks."""
    async with world_on(sqlite_url) as world:
        turn = await world.begin()
        nasty = "<script>alert(1)</script>&\"'" + "x" * 100
        await turn.write(
            seen(world, 1, safety("a", nasty), private=(privacy("p", "<b>", "æ`ø`"),)),
            seen(world, 2, safety("b", "")),
        )
        await turn.publish()
        page, outline = await report_of(world, tmp_path / "r.html")
        assert "script" not in outline.tags
        assert "<script>alert(1)</script>&\"'xx" in outline.text
        assert "x" * 61 not in page
        assert "(none)" in outline.text


async def test_no_identifier_reaches_the_report(sqlite_url, tmp_path):
    """In plain mode the key is the identifier; the report numbers stale persons instead."""
    async with world_on(sqlite_url) as world:
        turn = await world.begin()
        await turn.write(seen(world, IDENTIFIER, safety("a", "N"), ref="PAS-7"), seen(world, 1))
        await turn.publish()
        turn = await world.begin()
        await turn.write(missed(world, IDENTIFIER, "PAS-7"), seen(world, 1))
        await turn.publish()
        page, outline = await report_of(world, tmp_path / "r.html")
        assert IDENTIFIER[:6] not in page
        assert "PAS-7" not in page
        assert "person 1" in outline.text
        page, _ = await report_of(world, tmp_path / "r.html", include_local_ref=True)
        assert IDENTIFIER[:6] not in page
        assert "PAS-7" in page


async def test_a_folder_that_is_not_there_is_named(sqlite_url, tmp_path):
    """The fault is told as a fault of the file, and nothing is left behind."""
    async with world_on(sqlite_url) as world:
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await report_of(world, tmp_path / "nowhere" / "r.html")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0], [0, 1]),
        ([1], [0, 1]),
        ([3], [0, 1, 2, 3]),
        ([251], [0, 100, 200, 300]),
        ([21, -12], [-20, -10, 0, 10, 20, 30]),
        ([1_000_000], [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]),
        ([], [0, 1]),
        ([None, 4.5], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_axes_have_whole_round_numbers(values, expected):
    """Every value lies between the first and the last tick."""
    assert expected == ticks({"all": values})


def test_words_for_codes_and_times():
    """Codes fall into three groups; ages and durations read as a person would say them."""
    assert ["delayed", "denied", "denied", "other", "other"] == [
        group_of(code) for code in ("NORU", "NORN_EPO", "NORN-ANG", "NORS", "")
    ]
    from datetime import timedelta

    assert ["0 min", "59 min", "47 h", "2 days"] == [
        ago(timedelta(minutes=minutes)) for minutes in (0, 59, 47 * 60 + 59, 48 * 60)
    ]
    assert ["-", "7 s", "4 min 10 s", "1 h 05 min"] == [
        lasted(seconds) for seconds in (None, 7.2, 250, 3_900)
    ]
