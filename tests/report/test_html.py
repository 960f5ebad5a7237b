"""The HTML report from real stores."""

import base64
import hashlib
import re
import stat
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.report.stores import (
    ANY,
    NEVER,
    missed,
    privacy,
    safety,
    seen,
    small_store,
    withhold,
)
from tests.support.store_world import world_on
from worker.core.model import RunKind
from worker.errors import ConfigurationError
from worker.report.language import LANGUAGES, language
from worker.report.page import Source, write_report

CODES = "Restrictions in effect, by code"


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
        assert self.open == [], "elements that nothing closes"
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def table_of(page: str, caption: str) -> list[list[str]]:
    """The cells of a table by row, without the heads of columns."""
    (table,) = re.findall(rf"<caption>{re.escape(caption)}</caption>.*?</table>", page, re.DOTALL)
    table = table.replace("<small>", "\n").replace("\u00a0", " ")
    table = re.sub(r'<span class="spoken">.*?</span>', "", table)
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in table.split("</tr>")[1:-1]
    ]


async def report_of(world, out, **chosen):
    options: dict[str, Any] = {"in_language": "en", "min_cell": 0} | chosen
    await write_report(world.database.read, out, now=world.fake.now(), **options)
    page = out.read_text("utf-8")
    return page, Outline(page)


async def nights(world, *days, persons=40):
    """A night on each of these days; the later, the more persons have a restriction."""
    for day, following in pairwise((*days, days[-1] + 1)):
        reads = [
            seen(world, n, *([safety(f"s{n}", "NORN_EPO", NEVER)] if n <= day + 6 else []))
            for n in range(persons)
        ]
        await world.publish(*reads, limits=ANY)
        world.fake.advance((following - day) * 86_400 - 61.5)


@pytest.mark.promise("2")
async def test_the_report_needs_nothing_else(sqlite_url, tmp_path):
    """One private file that loads and runs nothing, and names no person.

    Its policy names its own style by the hash; nothing in it is unsafe.
    """
    out = tmp_path / "report.html"
    out.write_text("<!DOCTYPE html>an older report")
    async with world_on(sqlite_url) as world:
        await small_store(world)
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await report_of(world, tmp_path / "nowhere" / "r.html")
        with pytest.raises(ConfigurationError, match=r"pts\.db"):
            await report_of(world, tmp_path / "pts.db")  # a file, and no report
        page, outline = await report_of(world, out)
    assert oct(stat.S_IMODE(out.stat().st_mode)) == oct(0o600)
    assert {path.name for path in tmp_path.iterdir()} - {"report.html"} == {"pts.db"}
    assert not re.search(r"https?://|url\(|@import|javascript:|//[a-z]", page)
    assert {"script", "link", "img", "iframe", "object", "a"} & set(outline.tags) == set()
    assert {"src", "href", "style"} & {name for name, _ in outline.attributes} == set()
    assert [name for name, _ in outline.attributes if name.startswith("on")] == []
    assert not re.search(r"p-[0-9a-f]{8}|[0-9a-f]{32}|R-\d", outline.text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert '<meta name="robots" content="noindex, nofollow">' in page
    assert re.findall(r"<th (?!scope)[^>]*>", page) == [], "a screen reader repeats scoped heads"


SENTENCES = {
    "en": "28 April: 37 restrictions are in effect for 37 of 40 patients, 429% more "
    "than on 28 March (7 restrictions); 100% of the roster confirmed by the last publication.",
    "nb": "28. april: 37 restriksjoner er i kraft for 37 av 40 pasienter, 429 % flere "
    "enn 28. mars (7 restriksjoner); opplysningene er bekreftet for 100 % av listen.",
    "nn": "28. april: 37 restriksjonar er i kraft for 37 av 40 pasientar, 429 % fleire "
    "enn 28. mars (7 restriksjonar); opplysningane er stadfesta for 100 % av lista.",
}


async def test_a_month_begins_with_a_sentence(sqlite_url, tmp_path):
    """In the reader's language, with its numbers; each drawing has words for who does not see."""
    async with world_on(sqlite_url) as world:
        await nights(world, 0, *range(24, 31))
        out = tmp_path / "r.html"
        for in_language, said in SENTENCES.items():
            page, outline = await report_of(world, out, in_language=in_language)
            assert said in outline.text.replace("\u00a0", " ")
            assert f'<html lang="{in_language}">' in page
            pictures = re.findall(r'<svg [^>]*role="img".*?</svg>', page, re.DOTALL)
            assert len(pictures) == 1
            for picture in pictures:
                assert re.search(
                    r"<title id=[^>]+>[^<]+</title>\s*<desc id=[^>]+>[^<]+</desc>", picture
                )
        _, rounded = await report_of(world, out, min_cell=5)
        assert "35 restrictions are in effect" in rounded.text
        assert "29 March (" not in rounded.text, "it would be a change of roundings"


async def test_a_line_is_drawn_from_seven_nights_on(sqlite_url, tmp_path):
    """Before that a sentence says so. Where it ends at a hidden number it says its bound."""
    async with world_on(sqlite_url) as world:
        await nights(world, *range(6))
        page, outline = await report_of(world, tmp_path / "r.html")
        assert (
            "appears after 7 days with figures. So far there are figures for 6 days."
            in outline.text
        )
        assert 'role="img"' not in page
        await nights(world, 6)
        page, outline = await report_of(world, tmp_path / "r.html")
        assert 'role="img"' in page
        assert "<span>28\u00a0Mar</span><span>4\u00a0Apr</span>" in page
        assert "rounded to the nearest five" not in outline.text
        said = "On 28 March 2026 the number was 7, and on 4 April 2026 it was 13. The lowest was 7,"
        assert f"{said} and the highest was 13." in outline.text
        reads = [seen(world, number) for number in range(39)]
        for _ in range(2):
            await world.publish(*reads, missed(world, 39), limits=ANY)
            world.fake.advance(86_400)
        page, outline = await report_of(world, tmp_path / "r.html", min_cell=5)
    assert "rounded to the nearest five" in outline.text
    days = table_of(page, "Days with patients who were not confirmed, or missing from the roster")
    assert [row[0] for row in days] == ["6 April 2026", "5 April 2026"]
    assert [row[1:] for row in days] == [["40", "&lt;5", "at least 89%"]] * 2


async def test_a_withheld_night_is_marked(sqlite_url, tmp_path):
    """In the drawing, and in words."""
    async with world_on(sqlite_url) as world:
        await nights(world, *range(8), persons=15)
        await withhold(world, seen(world, 5))
        withheld = world.fake.now()
        page, outline = await report_of(world, tmp_path / "r.html")
        assert re.search(r"Run 9, started on [^.]+: withheld\.", outline.text)
        assert '<rect class="withheld"' not in page, "it is later than the last night"
        world.fake.advance(86_400)
        await nights(world, 9)
        await withhold(world, seen(world, 5))
        await nights(world, 10, 11)  # on the day of the second withheld run
        page, outline = await report_of(world, tmp_path / "r.html")
    assert "Run 9," not in outline.text, "another run has published since"
    day = f"{withheld + timedelta(hours=2):%-d %B}"
    assert f"Withheld, nothing published: {day}." in outline.text
    assert "Nothing published" not in outline.text
    assert '<rect class="withheld"' in page
    table = table_of(page, "The figures day by day")
    assert (len(table), table[0][0]) == (11, "9 April 2026")  # the newest first
    assert [row for row in table if row[0].startswith(day)] == []


@pytest.mark.parametrize(
    ("days", "missed_days"),
    [((0, 1, 2, 2.96, 4, 5, 6, 8, 9), ["Nothing published: 5 April."]), (range(0, 56, 7), [])],
    ids=["nightly", "weekly"],
)
async def test_a_day_without_a_run_is_named(sqlite_url, tmp_path, days, missed_days):
    """Two days after the night before; not where a run ended before midnight, the next after it.

    With weekly runs no day is missed.
    """
    async with world_on(sqlite_url) as world:
        await nights(world, *days, persons=9)
        _, outline = await report_of(world, tmp_path / "r.html")
    assert re.findall(r"Nothing published: [^.]+\.", outline.text) == missed_days


MISSING = {
    "en": "1 patient is missing from the last roster",
    "nb": "1 pasient mangler på siste liste",
    "nn": "1 pasient manglar på siste liste",
}


async def test_a_cohort_that_is_gone_is_out_of_date(sqlite_url, tmp_path):
    """A renamed clinic has figures, but only those of earlier publications."""
    async with world_on(sqlite_url) as world:
        for cohort in ("Old", "New"):
            reads = [seen(world, n, safety(f"s{n}", "NORS", NEVER), cohort=cohort) for n in (1, 2)]
            await world.publish(*reads)
            world.fake.advance(3_600)
        _, gone = await report_of(world, tmp_path / "old.html", cohort="Old")
        _, named = await report_of(world, tmp_path / "new.html", cohort="New")
        first, second = await world.rows("SELECT published_at FROM report_publication ORDER BY 1")
    assert "Out of date: the last publication has no patient of this department." in gone.text
    assert "All patients on the roster were confirmed" not in gone.text
    assert "of the roster confirmed then." in gone.text
    assert f"Publication no. 1 ({moment_of(first)})" in gone.text
    assert "All patients on the roster were confirmed" in named.text
    assert f"Publication no. 2 ({moment_of(second)})" in named.text


def moment_of(row: tuple[Any, ...]) -> str:
    """The time of a publication, as the report in English writes it."""
    moment = language("en").moment(datetime.fromisoformat(row[0]), ZoneInfo("Europe/Oslo"))
    return moment.replace("\u00a0", " ")


async def test_a_missing_person_is_not_unconfirmed(sqlite_url, tmp_path):
    """One of three is not on the second roster: the two others are all confirmed.

    The restriction of the missing person counts, also in a cohort that has no other person.
    """
    out = tmp_path / "r.html"
    async with world_on(sqlite_url) as world:
        for persons in (3, 2):
            reads = [
                seen(world, n, safety(f"s{n}", "NORS", NEVER), cohort="Nord" if n < 2 else "Sør")
                for n in range(persons)
            ]
            await world.publish(*reads, limits=ANY)
        for in_language, words in MISSING.items():
            page, outline = await report_of(world, out, in_language=in_language)
            assert words in outline.text
        page, outline = await report_of(world, out)
        _, few = await report_of(world, out, min_cell=5)
        south, _ = await report_of(world, out, cohort="Sør")
    assert "All patients on the roster were confirmed" in outline.text
    assert (
        "3 restrictions are in effect for 3 patients; 100% of the roster confirmed" in outline.text
    )
    assert "0 not confirmed1 missing from the roster" in outline.text.replace("> <", "><")
    days = table_of(page, "Days with patients who were not confirmed, or missing from the roster")
    assert [row[1:] for row in days] == [["2", "1", "100%"]]
    caption = "Patients with at least one restriction in effect, per 1,000 on the roster"
    assert [row[:3] for row in table_of(page, caption)] == [["Nord", "2", "2"], ["Sør", "0", "1"]]
    assert "Fewer than 5 patients are missing from the last roster" in few.text
    assert "1 patient is missing from the last roster" in south


async def test_the_week_shows_expired_restrictions(sqlite_url, tmp_path):
    """A delay that ends this week and stays in PTS is expired.

    One that ended last week is not, and one that was new after its end was never in effect.
    """
    async with world_on(sqlite_url) as world:
        delays = [
            safety(f"s{days}", "NORU", world.fake.now() + timedelta(days=days))
            for days in (18, 1, 9, 10)
        ]
        for count in (3, 3, 3, 4):
            await world.publish(seen(world, 1, *delays[:count]), limits=ANY)
            world.fake.advance(4 * 86_400)
        page, outline = await report_of(world, tmp_path / "r.html")
    assert table_of(page, "Restrictions, by group") == [["Access delayed", "1", "0", "0", "1"]]
    assert "1 ends within 7 days" in outline.text
    expired = table_of(page, "Expired restrictions in PTS, by time since expiry")
    assert [row for row in expired if not row[0].endswith(" ago")] == []
    assert sum(int(row[1]) for row in expired) == 3


@pytest.mark.promise("8")
async def test_no_order_and_no_share_reveals_a_small_number(sqlite_url, tmp_path):
    """Three of one code and one of another are few: by name, without shares; so is a failure."""
    codes = ["NORN_FFL"] * 3 + ["NORN_EPO"] + ["NORN_ALL"] * 12
    async with world_on(sqlite_url) as world:
        reads = [
            seen(world, n, safety("s", code, NEVER, cause="Manual" if n > 3 else "Automated"))
            for n, code in enumerate(codes)
        ]
        cohorts = [seen(world, f"c{n:02}", cohort=f"\x0bWard {n:02}") for n in range(18)]
        await world.publish(*reads, *cohorts, missed(world, "x"), limits=ANY)
        page, outline = await report_of(world, tmp_path / "r.html", min_cell=5)
    rows = [row[0].split("\n")[-1] for row in table_of(page, CODES)]
    assert rows == ["Access denied", "NORN_ALL", "NORN_EPO", "NORN_FFL", "Total"]
    causes = table_of(page, "Restrictions in effect on the citizen&#39;s access")
    assert [row[1:] for row in causes] == [["&lt;5"], ["10"]]
    assert [row[1] for row in table_of(page, "Reasons for failed reads")] == ["&lt;5"]
    assert "16 of 19 departments: those with the highest rates" in outline.text
    assert "\x0b" not in page


async def test_a_group_of_small_numbers_is_not_drawn(sqlite_url, tmp_path):
    """Three are blocked from the eighth of 16 nights on: seven nights have a number, which is 0."""
    async with world_on(sqlite_url) as world:
        for night in range(16):
            codes = ["NORN_EPO"] * 20 + ["NORS"] * (3 if night >= 7 else 0)
            reads = [seen(world, n, safety(f"s{n}", code, NEVER)) for n, code in enumerate(codes)]
            await world.publish(*reads, limits=ANY)
            world.fake.advance(86_400 - 61.5)
        exact, outline = await report_of(world, tmp_path / "r.html")
        assert "Not drawn" not in outline.text
        assert "Access denied 20 axis starts at 15" in outline.text
        assert '<path d="M0.0 33.33L' in exact, "the line of a tile starts at 0"
        few, outline = await report_of(world, tmp_path / "r.html", min_cell=5)
    assert [page.count('role="img"') for page in (exact, few)] == [2, 1]
    assert (
        "Not drawn, because most of the numbers are small: Blocked by the patient." in outline.text
    )


@pytest.mark.promise("8")
async def test_small_numbers_are_named_and_others_rounded(sqlite_url, tmp_path):
    """One rule for all tables: seven is five, one and three are few, and a total may be a range.

    Of 5 and a few the total is 6 to 11: as "5" it would leave 1 or 2 for the few.
    """
    async with world_on(sqlite_url) as world:
        await small_store(world)
        page, outline = await report_of(world, tmp_path / "report.html", min_cell=5)
    codes = {row[0].split("\n")[-1]: [row[1], *row[3:]] for row in table_of(page, CODES)}
    few = ["&lt;5", "\u2013"]
    assert codes == {
        "Access denied": ["5\u201310", "\u2013"],
        "NORN_EPO": ["5", "50%"],
        "NORN_FFL": few,
        "Access delayed": few,
        "NORU": few,
        "Blocked by the patient": few,
        "Block Hard": few,
        "Total": ["10", "100%"],
    }
    bars = re.findall(r'<rect width="([^"]+)" height="10"/>', page)
    assert bars == ["100.0", "0.0", "0.0", "0.0"], "the largest code fills its column"
    assert "10 restrictions are in effect for 10 of 10 patients" in outline.text
    assert '<span class="spoken">fewer than 5</span>' in page
    assert "at least 50% of the roster confirmed" in outline.text
    assert "If a total would reveal a small number, the total is a range" in outline.text


async def test_a_week_and_a_clinic(sqlite_url, tmp_path):
    """What came, changed and went; a clinic has a page of its own, with its name as text."""
    clinic = "Øye <3"
    async with world_on(sqlite_url) as world:
        for until in (0, 6, 3):
            reads = [
                seen(world, n, *([safety(f"s{n}", "NORN_EPO", NEVER)] if n < until else []),
                     cohort="Ås" if n >= 44 else clinic if n % 2 else None)
                for n in range(46)
            ]  # fmt: skip
            await world.publish(*reads, limits=ANY)
            world.fake.advance(86_400)
        page, outline = await report_of(world, tmp_path / "r.html")
        assert table_of(page, "Restrictions, by group") == [["Access denied", "6", "0", "3", "0"]]
        caption = "Patients with at least one restriction in effect, per 1,000 on the roster"
        assert table_of(page, caption) == [
            ["Øye &lt;3", "22", "1", "45", "3", "2"],
            ["Ås", "2", "0", "\u2013", "0", "0"],
            ["(none)", "22", "2", "91", "3", "1"],
        ]
        assert (
            "No rate is shown for departments that may have fewer than 20 patients" in outline.text
        )
        for in_language, head in WEEK_HEADS.items():
            _, outline = await report_of(world, tmp_path / "r.html", in_language=in_language)
            assert "".join(head) in outline.text
        page, outline = await report_of(world, tmp_path / "r.html", cohort=clinic)
        assert table_of(page, "Restrictions, by group") == [["Access denied", "3", "0", "2", "0"]]
    assert "1 restriction is in effect for 1 of 22 patients" in outline.text
    for tag in ("title", "h1"):
        assert f"<{tag}>Access restrictions (PTS): Øye &lt;3</{tag}>" in page
    assert caption not in page


WEEK_HEADS = {
    "en": ("Group", "Added", "Changed", "Removed", "Expired"),
    "nb": ("Gruppe", "Kommet til", "Endret", "Falt bort", "Utløpt"),
    "nn": ("Gruppe", "Kome til", "Endra", "Falle bort", "Utløpt"),
}
IN_THE_FUTURE = {
    "en": "is dated 30 March 2026 at 00:18, which is in the future: a clock is or was wrong.",
    "nb": "er datert 30. mars 2026 kl. 00.18, som er fram i tid",
    "nn": "er datert 30. mars 2026 kl. 00.18, som er fram i tid",
}


@pytest.mark.promise("6")
async def test_the_head_says_what_the_copy_is_worth(sqlite_url, tmp_path):
    """Publication and gaps in plain words, in the zone; an old copy is called so.

    A backfill does not make it younger. A publication of the future, by a wrong clock, is neither
    fresh nor old, and is not called the last one.
    """
    out = tmp_path / "r.html"
    async with world_on(sqlite_url) as world:
        await small_store(world)
        published = world.fake.now()
        world.fake.set_wall_clock(published - timedelta(hours=1))
        for in_language, said in IN_THE_FUTURE.items():
            _, outline = await report_of(world, out, in_language=in_language)
            assert said in outline.text
            assert not re.search("by the last publication|i siste publisering", outline.text)
            assert ("the run ended on 30 March 2026" in outline.text) is (in_language == "en")
        world.fake.set_wall_clock(published + timedelta(hours=3))
        _, outline = await report_of(world, out)
        assert (
            "Published on 30 March 2026 at 00:18 with gaps: 1 patient is not confirmed"
            in outline.text
        )
        assert "Publication no. 2 (30 March 2026 at 00:18)" in outline.text
        assert "PTS decides about access, not this copy" in outline.text
        assert "0 end within 7 days" in outline.text
        world.fake.advance(3 * 86_400)
        _, outline = await report_of(world, out, timezone="Asia/Tokyo")
        assert "last full run was published on 30 March 2026 at 07:18" in outline.text
        assert "90% of the roster confirmed then." in outline.text
        await world.publish(seen(world, 1, ref="R-1"), kind=RunKind.BACKFILL)
        _, outline = await report_of(world, out)
        assert "Out of date: the last full run was published on 30 March" in outline.text


async def test_an_unreadable_line_is_a_reason_for_a_gap(sqlite_url, tmp_path):
    """The head names the command that shows the line, until a full roster was read."""
    async with world_on(sqlite_url) as world:
        for faults in (1, 0):
            await world.publish(seen(world, 1), limits=ANY, faults=faults)
            for in_language in LANGUAGES:
                _, outline = await report_of(world, tmp_path / "r.html", in_language=in_language)
                assert ("pts-worker doctor" in outline.text) is bool(faults)


async def test_an_empty_store_says_what_to_do(sqlite_url, tmp_path):
    """Before the first run the report names the command that helps."""
    async with world_on(sqlite_url) as world:
        for in_language in LANGUAGES:
            _, outline = await report_of(world, tmp_path / "r.html", in_language=in_language)
            assert "pts-worker sync" in outline.text
            assert "svg" not in outline.tags


async def test_text_from_pts_is_never_run(sqlite_url, tmp_path):
    """Codes are open text: what is no code counts as other."""
    async with world_on(sqlite_url) as world:
        nasty = "<script>alert(1)</script>\x0b&\"'" + "x" * 100
        await world.publish(
            seen(world, 1, safety("a", nasty), private=(privacy("p", "<b>", "æ`ø`"),)),
            seen(world, 2, safety("b", "", cause="Ny")),
            seen(world, 3, private=[privacy(level, "Odd", level) for level in ("Hard", "Soft")]),
        )
        page, outline = await report_of(world, tmp_path / "r.html")
        causes = table_of(page, "Restrictions in effect on the citizen&#39;s access")
        assert causes == [["Not stated", "1", "50%"], ["Unknown code", "1", "50%"]]
        assert {len(row) for row in table_of(page, CODES)} == {4}, "there is no change to show"
        assert "script" not in outline.tags
        assert "alert" not in page
        assert [row[1] for row in table_of(page, CODES) if row[0] == "Unknown code"] == ["4"]
        assert "\x0b" not in page
        assert "No code" in outline.text
        assert len(re.findall(r"Unknown code\b", outline.text)) == 2, "a code and a cause"


async def test_the_plural_reveals_no_number(sqlite_url, tmp_path):
    """A single restriction has the words of several, unless numbers are exact."""
    async with world_on(sqlite_url) as world:
        await world.publish(*(seen(world, n, *[safety("s", "NORS")] * (n < 1)) for n in range(9)))
        _, few = await report_of(world, tmp_path / "r.html", min_cell=5)
        _, exact = await report_of(world, tmp_path / "r.html")
    assert "fewer than 5 restrictions are in effect for fewer than 5 of 10 patients" in few.text
    assert "1 restriction is in effect for 1 of 9 patients" in exact.text
    assert "First publication: changes cannot be shown yet." in exact.text


MADE_UP = "the persons are made up"


async def test_the_page_names_its_origin(sqlite_url, tmp_path):
    """The PTS and the organisation; without real persons, the page says so."""
    out = tmp_path / "r.html"
    async with world_on(sqlite_url) as world:
        await small_store(world)
        real = Source(service="production", organisation="999977775")
        _, outline = await report_of(world, out, source=real)
        assert "PTS in production \u00b7 organisation number 999977775" in outline.text
        assert MADE_UP not in outline.text
        _, outline = await report_of(world, out, source=Source(service="test"))
        assert "PTS in the test environment" in outline.text
        _, outline = await report_of(world, out, source=Source(service="a:1", is_made_up=True))
        assert "PTS at a:1" in outline.text
        assert MADE_UP in outline.text


async def test_a_step_of_rounding_is_no_change(sqlite_url, tmp_path):
    """138 and 134 are shown as 140 and 135; 146 as 145, two steps more than 135."""
    async with world_on(sqlite_url) as world:
        # Below 100 and with no night of 30 to 37 days before, no change is shown.
        for holders, days, words in (
            (60, 30, ""),
            (138, 30, ""),
            (134, 30, ", about the same as on 28 April (140 restrictions)"),
            (146, 38, ", 7% more than on 28 May (135 restrictions)"),
            (99, 0, ""),
        ):
            reads = [
                seen(world, n, *([safety(f"s{n}", code, NEVER)] if 0 < n < holders else []),
                     private=(privacy("p", "Block", "Hard"),) if n == 0 else ())
                for n in range(160)
                for code in ["NORN_EPO" if holders == 134 and n <= 20 else "NORS"]
            ]  # fmt: skip
            await world.publish(*reads, limits=ANY)
            page, outline = await report_of(world, tmp_path / "r.html", min_cell=5)
            assert (" than on " in outline.text or "same as on" in outline.text) is bool(words)
            assert words in outline.text
            new = [row[1] for row in table_of(page, CODES) if row[-1] == "new"]
            assert new == ["20"] * (holders == 134)
            world.fake.advance(days * 86_400 - 61.5)
