"""Draws ``docs/img/scale.svg``: ``python -m bench.picture``. What takes how long, for everybody.

Bars on a logarithmic scale, from the figures in ``docs/scale.md``.
"""

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

PERSONS: Final = 5_600_000
REQUESTS: Final = 2 * PERSONS
CEILINGS: Final = (20, 100, 400, 1_000)
"""Requests a second that NHN might allow; the first is the worker's default."""

WORKER_PERSONS_PER_S: Final = 2_200
STORE_PERSONS_PER_S: Final = 11_400
PUBLICATION_S_PER_PERSON: Final = 2.6 / 200_000

FILE: Final = Path(__file__).parents[1] / "docs" / "img" / "scale.svg"
_LEFT, _RIGHT, _TOP, _ROW = 250, 700, 34, 26
_HOURS: Final = (0.01, 0.1, 1, 10, 100)
_NIGHT_HOURS: Final = 8
_ROUNDED_HOURS: Final = 10
_STYLE: Final = (
    "text{font:13px sans-serif;fill:#333}.m{text-anchor:middle}.e{text-anchor:end}.w{fill:#fff}"
    ".b{stroke:#fff;stroke-width:3px;paint-order:stroke}"
    ".g{stroke:#ddd}.n{stroke:#333;stroke-dasharray:4 3}.t{fill:#b3541e}.o{fill:#27647b}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One thing that takes time."""

    label: str
    hours: float
    is_theirs: bool


def bars() -> list[Bar]:
    """The longest first."""
    theirs = [
        Bar(
            label=f"PTS at {ceiling:,} requests/s",
            hours=REQUESTS / ceiling / 3600,
            is_theirs=True,
        )
        for ceiling in CEILINGS
    ]
    ours = {
        "Worker, one process": PERSONS / WORKER_PERSONS_PER_S,
        "Store alone, PostgreSQL": PERSONS / STORE_PERSONS_PER_S,
        "Publication": PERSONS * PUBLICATION_S_PER_PERSON,
    }
    return theirs + [
        Bar(label=label, hours=took_s / 3600, is_theirs=False) for label, took_s in ours.items()
    ]


def place(hours: float) -> float:
    """Where on the axis a number of hours stands."""
    first, last = math.log10(_HOURS[0]), math.log10(_HOURS[-1] * 3)
    return _LEFT + (math.log10(hours) - first) / (last - first) * (_RIGHT - _LEFT)


def in_words(hours: float) -> str:
    """Hours, or minutes where they are few."""
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < _ROUNDED_HOURS else f"{hours:,.0f} h"


def picture(shown: list[Bar]) -> str:
    """The whole file."""
    bottom = _TOP + _ROW * len(shown)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_RIGHT + 60} {bottom + 24}">',
        f"<style>{_STYLE}</style>",
        "<title>Hours for 5.6 million persons and two areas, on a logarithmic scale</title>",
        '<rect class="w" width="100%" height="100%"/>',
    ]
    for hours in _HOURS:
        x = f"{place(hours):.0f}"
        lines.append(f'<path class="g" d="M{x} {_TOP}V{bottom}"/>')
        lines.append(f'<text class="m" x="{x}" y="{bottom + 16}">{hours:g} h</text>')
    x = f"{place(_NIGHT_HOURS):.0f}"
    lines.append(f'<path class="n" d="M{x} {_TOP - 6}V{bottom}"/>')
    lines.append(f'<text class="m" x="{x}" y="{_TOP - 12}">a night of {_NIGHT_HOURS} h</text>')
    for number, bar in enumerate(shown):
        y, end = _TOP + _ROW * number, place(bar.hours)
        kind, wide = "t" if bar.is_theirs else "o", f"{end - _LEFT:.0f}"
        lines += [
            f'<text class="e" x="{_LEFT - 8}" y="{y + 17}">{escape(bar.label)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y + 4}" width="{wide}" height="18"/>',
            f'<text class="b" x="{end + 5:.0f}" y="{y + 17}">{in_words(bar.hours)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    FILE.write_text(picture(bars()), encoding="utf-8")
