"""The parts of the report that count restrictions: by area and code, and over time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from worker.report.charts import areas, bars, columns, number
from worker.report.figures import CodeCount, DayFacts, ReportFacts
from worker.report.markup import Html, el, join, table
from worker.report.words import DELAYED, DENIED, OTHER, area_title, group_of, meaning_of, short

_BARS_MAX: Final = 15
_RECENT_DAYS: Final = 10
_GROUPS: Final = (DELAYED, DENIED, OTHER)


def restrictions_part(facts: ReportFacts) -> Html:
    """Open restrictions by area and code, and when delays end."""
    return join(
        [el("h2", "Restrictions in force at the last publication"), _safety(facts), _privacy(facts)]
    )


def _safety(facts: ReportFacts) -> Html:
    intro = join(
        [
            el("h3", "Patient safety"),
            el("p", "What is hidden from the citizen, or shown later.", class_="soft"),
        ]
    )
    if not facts.safety:
        return join([intro, el("div", _none(), class_="card")])
    shown = facts.safety[:_BARS_MAX]
    groups = {
        group: [count.restrictions if group_of(count.code) == group else None for count in shown]
        for group in _GROUPS
    }
    picture = bars(
        "Patient safety restrictions by code",
        "Open restrictions for each confidentiality code: delayed, denied or other.",
        [short(count.code) for count in shown],
        groups,
        colours=(0, 1, 3),
    )
    rows = [
        (
            join([short(count.code), el("small", meaning_of(count.code))]),
            number(count.restrictions),
            number(count.stale),
        )
        for count in facts.safety
    ]
    return join(
        [
            intro,
            el(
                "div",
                el("figure", el("h4", "Open restrictions by code"), picture, class_="card"),
                el("div", table("By code", ("Code", "Open", "Stale"), rows), class_="card"),
                class_="pair",
            ),
            el(
                "div",
                el("div", _by_group(facts), class_="card"),
                el("div", _delays(facts), class_="card"),
                class_="pair",
            ),
        ]
    )


def _by_group(facts: ReportFacts) -> Html:
    groups: Counter[str] = Counter()
    for count in facts.safety:
        groups[group_of(count.code)] += count.restrictions
    words = {
        DELAYED: "Delayed: shown later",
        DENIED: "Denied: not shown",
        OTHER: "Other codes",
    }
    rows = [(words[group], number(groups[group])) for group in _GROUPS]
    return table("Delayed, denied, other", ("", "Open"), rows)


def _delays(facts: ReportFacts) -> Html:
    delays = facts.delays
    rows = [
        ("within 7 days", number(delays.within_7_days)),
        ("within 30 days, those included", number(delays.within_30_days)),
        ("later", number(delays.later)),
        ("never (indefinite)", number(delays.indefinite)),
        ("already over by the clock", number(delays.over)),
    ]
    return table("When a set time ends", ("Ends", "Open"), rows)


def _privacy(facts: ReportFacts) -> Html:
    tells = "What is hidden from health personnel: shielded by staff, or blocked by the citizen."
    intro = join([el("h3", "Patient privacy"), el("p", tells, class_="soft")])
    if not facts.privacy:
        return join([intro, el("div", _none(), class_="card")])
    shown = facts.privacy[:_BARS_MAX]
    picture = bars(
        "Patient privacy restrictions by type and level",
        "Open restrictions for each type (shield or block) and level (soft or hard).",
        [_type_and_level(count) for count in shown],
        {"open": [count.restrictions for count in shown]},
        colours=(5,),
    )
    rows = [
        (short(count.code), short(count.level), number(count.restrictions), number(count.stale))
        for count in facts.privacy
    ]
    head = ("Type", "Level", "Open", "Stale")
    return join(
        [
            intro,
            el(
                "div",
                el(
                    "figure",
                    el("h4", "Open restrictions by type and level"),
                    picture,
                    class_="card",
                ),
                el("div", table("By type and level", head, rows, text=2), class_="card"),
                class_="pair",
            ),
        ]
    )


def _type_and_level(count: CodeCount) -> str:
    return f"{short(count.code)}, {short(count.level)}"


def _none() -> Html:
    return el("p", "No restriction is open in this area.")


def changes_part(facts: ReportFacts) -> Html:
    """What stood open and what came, changed and went, day by day."""
    title = el("h2", "Changes over time")
    if not facts.days:
        return join([title, el("p", "No restriction has been published yet.")])
    names = list(dict.fromkeys(day.area for day in facts.days))
    days = list(dict.fromkeys(day.day for day in facts.days))
    labels = [f"{day.day} {day:%b}" for day in days]
    open_after = {
        area_title(name): [day.open_after for day in facts.days if day.area == name]
        for name in names
    }
    sums = [_sum(day for day in facts.days if day.day == each) for each in days]
    drawn = [
        sums[i] if days[i] != facts.first_day else (None, None, None) for i in range(len(days))
    ]
    flow: dict[str, Sequence[float | None]] = {
        "added": [added for added, _, _ in drawn],
        "changed": [changed for _, changed, _ in drawn],
        "removed": [removed and -removed for _, _, removed in drawn],
    }
    return join(
        [
            title,
            el("p", f"The last {len(days)} days. {_first_reading(facts)}"),
            el(
                "div",
                el(
                    "figure",
                    el("h3", "Open restrictions"),
                    areas(
                        "Open restrictions", "At the end of each day, by area.", labels, open_after
                    ),
                    class_="card",
                ),
                el(
                    "figure",
                    el("h3", "Added, changed and removed each day"),
                    columns(
                        "Restrictions added, changed and removed each day",
                        "Added and changed stand above the line, removed below it.",
                        labels,
                        flow,
                        colours=(2, 4, 1),
                    ),
                    class_="card",
                ),
                class_="pair",
            ),
            el("div", *_day_tables(facts.days, names), class_="card"),
        ]
    )


def _first_reading(facts: ReportFacts) -> str:
    first = _sum(day for day in facts.days if day.day == facts.first_day)
    if facts.first_day != facts.days[0].day:
        return ""
    return (
        f"The first reading, on {facts.first_day:%Y-%m-%d}, found {number(first[0])} restrictions; "
        "they are not drawn among the changes."
    )


def _sum(days: Iterable[DayFacts]) -> tuple[int, int, int]:
    found = [(day.added, day.changed, day.removed) for day in days]
    added, changed, removed = (
        (sum(column) for column in zip(*found, strict=True)) if found else (0, 0, 0)
    )
    return added, changed, removed


def _day_tables(days: Sequence[DayFacts], names: Sequence[str]) -> list[Html]:
    open_after = {(day.day, day.area): day.open_after for day in days}
    rows = []
    for each in sorted({day.day for day in days}, reverse=True):
        change = _sum(day for day in days if day.day == each)
        left = (open_after[each, name] for name in names)
        rows.append((el("time", f"{each:%Y-%m-%d}"), *map(number, change), *map(number, left)))
    titles = (f"Open: {area_title(name).lower()}" for name in names)
    head = ("Day", "Added", "Changed", "Removed", *titles)
    found = [table("The last days", head, rows[:_RECENT_DAYS])]
    if rows[_RECENT_DAYS:]:
        earlier = table("Earlier days", head, rows[_RECENT_DAYS:])
        found.append(el("details", el("summary", "Earlier days"), earlier))
    return found
