"""Pictures: pygal draws them, and what it adds besides (scripts, styles, links) is taken off.

The page's own style sheet colours them, so that they follow dark mode and print.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

import pygal
from pygal.style import Style

from worker.core.escaping import xml_text
from worker.report.words import number

# pygal's hook for its plug-ins makes every later failing import warn on Python 3.11.
sys.meta_path[:] = [hook for hook in sys.meta_path if type(hook).__module__ != "pygal"]

_WIDTH: Final = 520
_HEIGHT: Final = 300
_BAR_PX: Final = 32
_TICKS: Final = 5
_LABELS_MAX: Final = 5
_LABEL_MAX: Final = 18
_FONT_PX: Final = 16
_STYLE: Final = Style(
    label_font_size=_FONT_PX,
    major_label_font_size=_FONT_PX,
    legend_font_size=_FONT_PX,
    value_font_size=_FONT_PX,
    value_label_font_size=_FONT_PX,
)

Series = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing.

    Attributes:
        svg: an SVG element. It is markup, with all text in it escaped.
        legend: colour and name of each of several series. It stands below the drawing, where it
            wraps on a narrow screen.
    """

    svg: str
    legend: Sequence[tuple[int, str]]


def bars(
    title: str, tells: str, labels: Sequence[str], series: Series, *, colours: Sequence[int] = ()
) -> Chart:
    """Lying bars, one for each label, the first on top; of several series one has a value each."""
    chart = pygal.HorizontalStackedBar(**_common(_BAR_PX * len(labels) + 50))
    _lying(chart, labels, series)
    return _picture(chart, title, tells, series, colours)


def bar_groups(title: str, tells: str, labels: Sequence[str], series: Series) -> Chart:
    """Lying bars, a group for each label with a bar for each series, the first on top."""
    chart = pygal.HorizontalBar(**_common(_BAR_PX * len(labels) * len(series) + 50))
    _lying(chart, labels, series)
    chart.y_labels = ticks({"all": [value for values in series.values() for value in values]})
    return _picture(chart, title, tells, series, ())


def columns(
    title: str,
    tells: str,
    labels: Sequence[str],
    series: Series,
    *,
    colours: Sequence[int] = (),
    write: Callable[[float], str] = number,
) -> Chart:
    """Standing bars, stacked; negative values hang below the line."""
    chart = pygal.StackedBar(**_common(_HEIGHT, write=write))
    _over(chart, labels, series)
    return _picture(chart, title, tells, series, colours)


def areas(title: str, tells: str, labels: Sequence[str], series: Series) -> Chart:
    """Stacked areas over time."""
    chart = pygal.StackedLine(**_common(_HEIGHT), fill=True, show_dots=len(labels) == 1)
    _over(chart, labels, series)
    return _picture(chart, title, tells, series, ())


def _lying(chart: Any, labels: Sequence[str], series: Series) -> None:
    """Fill a chart whose labels stand beside it, the first on top."""
    chart.x_labels = [_cut(xml_text(label)) for label in reversed(labels)]
    chart.y_labels = ticks(series)
    for name, values in series.items():
        chart.add(xml_text(name), list(reversed(values)))


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL_MAX else label[: _LABEL_MAX - 1] + "…"


def ticks(series: Series) -> list[int]:
    """Round whole numbers that hold every stack, and the line at 0."""
    stacks = [[value or 0 for value in stack] for stack in zip(*series.values(), strict=True)]
    high = max((sum(value for value in stack if value > 0) for stack in stacks), default=0)
    low = min((sum(value for value in stack if value < 0) for stack in stacks), default=0)
    rough = max((high - low) / _TICKS, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
    return list(
        range(math.floor(low / step) * step, (math.ceil(high / step) or 1) * step + 1, step)
    )


def _over(chart: Any, labels: Sequence[str], series: Series) -> None:
    """Fill a chart whose labels stand below it; write as many of them as there is room for."""
    labels = [xml_text(label) for label in labels]
    chart.x_labels = labels
    chart.y_labels = ticks(series)
    step = math.ceil(len(labels) / _LABELS_MAX)
    if step > 1:
        chart.x_labels_major = labels[::step]
        chart.show_minor_x_labels = False
    for name, values in series.items():
        chart.add(xml_text(name), list(values))


def _common(height: int, *, write: Callable[[float], str] = number) -> dict[str, Any]:
    return {
        "width": _WIDTH,
        "height": height,
        "style": _STYLE,
        "css": (),
        "js": (),
        "no_prefix": True,
        "show_legend": False,
        "truncate_label": -1,
        "margin": 8,
        "margin_right": 28,
        "include_x_axis": True,
        "formatter": lambda value: "" if value is None else write(value),
    }


def _picture(chart: Any, title: str, tells: str, series: Series, colours: Sequence[int]) -> Chart:
    names = zip(colours or range(len(series)), series, strict=False) if len(series) > 1 else ()
    return Chart(svg=_svg(chart, title, tells, colours), legend=tuple(names))


def _svg(chart: Any, title: str, tells: str, colours: Sequence[int]) -> str:
    """The drawing, named for screen readers, each value told on hovering."""
    drawn = chart.render(is_unicode=True, disable_xml_declaration=True)
    root = ET.fromstring(drawn)  # noqa: S314 - what pygal has just drawn
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in ("id", "style", *(name for name in element.attrib if "}" in name)):
            element.attrib.pop(name, None)
        if colours and "class" in element.attrib:
            element.attrib["class"] = _recolour(element.attrib["class"], colours)
    _strip(root)
    for tag, text in (("desc", tells), ("title", title)):
        named = ET.Element(tag)
        named.text = text
        root.insert(0, named)
    size = {"viewBox": root.attrib["viewBox"], "role": "img", "class": "chart"}
    root.attrib.clear()
    root.attrib.update(size)
    return ET.tostring(root, encoding="unicode")


def _strip(root: ET.Element) -> None:
    for parent in list(root.iter()):
        described = {
            child.get("class", ""): child.text or "" for child in parent if child.tag == "desc"
        }
        for child in list(parent):
            is_tooltip = child.tag == "g" and child.get("class", "").startswith("tooltip")
            if child.tag in {"defs", "desc", "title", "script", "style"} or is_tooltip:
                parent.remove(child)
        if "value" in described:
            named = ET.SubElement(parent, "title")
            named.text = " ".join(filter(None, (described.get("x_label"), described["value"])))


def _recolour(classes: str, colours: Sequence[int]) -> str:
    words = classes.split()
    for index, word in enumerate(words):
        if word.startswith(("color-", "reactive-color-")) and word[-1].isdigit():
            stem, _, place = word.rpartition("-")
            words[index] = f"{stem}-{colours[int(place) % len(colours)]}"
    return " ".join(words)
