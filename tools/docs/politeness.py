"""Draws ``docs/img/politeness.svg``: ``python -m tools.docs.politeness``.

Plain SVG by hand, so that the same courses always make the same file.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.politeness import scenarios
from tests.support.politeness.world import AWAY, OK, REFUSED

FILE: Final = Path(__file__).parents[2] / "docs" / "img" / "politeness.svg"

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 46, 40
_TICKS_MAX: Final = 6
_COLOURS: Final = ("#1b6ca8", "#d1495b", "#2a9d8f", "#8d5a97")
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#333}.t{font-size:14px;font-weight:bold}"
    ".g{stroke:#ddd}.a{stroke:#333}.c{fill:none;stroke-width:1.6}.d{stroke-dasharray:5 4}"
)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve with its name; dashed for what the server does, unknown to the worker."""

    name: str
    points: Points
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of several curves over time."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    end_s: float
    top: float

    def draw(self, x: int, y: int) -> Iterable[str]:
        """Its SVG, the upper left corner at ``(x, y)``."""
        yield f'<g transform="translate({x},{y})">'
        yield f'<text class="t" x="{_LEFT}" y="18">{self.title}</text>'
        yield from self._axes()
        for number, line in enumerate(self.lines):
            colour = "#888" if line.dashed else _COLOURS[number % len(_COLOURS)]
            points = " ".join(self._at(*point) for point in line.points if point[0] <= self.end_s)
            kind = "c d" if line.dashed else "c"
            yield f'<polyline class="{kind}" stroke="{colour}" points="{points}"/>'
            left = _LEFT + number * (_WIDTH - _LEFT - _RIGHT) / max(3, len(self.lines))
            yield f'<text x="{left:.0f}" y="36" style="fill:{colour}">— {line.name}</text>'
        yield "</g>"

    def _axes(self) -> Iterable[str]:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for value in _ticks(self.top):
            height = self._at(0, value).split(",")[1]
            yield f'<path class="g" d="M{_LEFT},{height}H{right}"/>'
            yield f'<text x="{_LEFT - 6}" y="{height}" dy="4" text-anchor="end">{value:g}</text>'
        for value in _ticks(self.end_s):
            place = self._at(value, 0).split(",")[0]
            yield f'<text x="{place}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>'
        yield f'<path class="a" d="M{_LEFT},{bottom}H{right}"/>'
        yield f'<text x="{right}" y="{bottom + 32}" text-anchor="end">seconds</text>'
        yield f'<text x="{_LEFT}" y="{bottom + 32}">{self.unit}</text>'

    def _at(self, at_s: float, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / self.end_s
        share = min(value, self.top) / self.top
        return f"{x:.1f},{_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share:.1f}"


def _ticks(top: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(top / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if top / (step * factor) <= _TICKS_MAX)
    return [step * number for number in range(int(top / step + 1e-9) + 1)]


def _settling() -> Panel:
    lines = []
    for limit in scenarios.LIMITS:
        course = scenarios.settling(limit)
        curve = course.per_second(5.0, OK)
        share = 100 * course.refused_share()
        name = f"R = {limit.rate:g}: {share:.2f} %"
        lines.append(Line(name=name, points=[(at_s, value / limit.rate) for at_s, value in curve]))
    return Panel(
        title="Limits R that the worker does not know, and what was refused",
        unit="accepted, as a share of R (mean of 5 s)",
        lines=tuple(lines),
        end_s=100,
        top=1.4,
    )


def _falling() -> Panel:
    course = scenarios.falling_and_rising()
    falls_s, rises_s = scenarios.FALLS_S, scenarios.RISES_S
    limit = [(0, 50), (falls_s, 50), (falls_s, 10), (rises_s, 10), (rises_s, 50), (600, 50)]
    return Panel(
        title="A limit that falls and rises",
        unit="requests a second (mean of 4 s)",
        lines=(
            Line(name="sent", points=course.per_second(4.0)),
            Line(name="refused", points=course.per_second(4.0, REFUSED)),
            Line(name="sustained by the server", points=limit, dashed=True),
        ),
        end_s=600,
        top=100,
    )


def _slowing() -> Panel:
    slow_s, well_s = scenarios.SLOW_S, scenarios.WELL_S
    latency = [(0, 0.05), (slow_s, 0.05), (slow_s, 1), (well_s, 1), (well_s, 0.05), (180, 0.05)]
    return Panel(
        title="Answers that take 20 times as long for a minute",
        unit="requests under way, at most",
        lines=(
            Line(name="allowed by the worker", points=scenarios.slowing_down().places),
            Line(name="latency (full height: 1 s)", points=_scaled(latency, 16), dashed=True),
        ),
        end_s=180,
        top=18,
    )


def _away() -> Panel:
    course, restart = scenarios.outage(), scenarios.outage(seconds=20)
    return Panel(
        title="An outage of 20 s, and one of 10 minutes",
        unit="requests a second (mean of 2 s)",
        lines=(
            Line(name="sent (20 s)", points=restart.per_second(2.0)),
            Line(name="503 (10 minutes)", points=course.per_second(2.0, AWAY)),
            Line(
                name=f"exit 69 after {course.count(AWAY)} times 503",
                points=[(course.elapsed_s, 0), (course.elapsed_s, 24)],
                dashed=True,
            ),
        ),
        end_s=240,
        top=24,
    )


def _scaled(points: Points, factor: float) -> Points:
    return [(at_s, value * factor) for at_s, value in points]


def draw() -> str:
    """The whole picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {2 * _HEIGHT}">',
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate((_settling(), _falling(), _slowing(), _away())):
        parts += panel.draw(number % 2 * _WIDTH, number // 2 * _HEIGHT)
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(draw(), encoding="utf-8")
