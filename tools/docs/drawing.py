"""Draws boxes, arrows and text as static SVG."""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

PLAIN: Final = "#ffffff"
BLUE: Final = "#dbe9f6"
GREEN: Final = "#dcefdc"
YELLOW: Final = "#fdf1cf"
RED: Final = "#f8dcdc"
GREY: Final = "#eeeeee"
_INK: Final = "#1f2933"
_LINE_PX: Final = 17

Point = tuple[float, float]

_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" font-family="{font}" font-size="13">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 8 4 0 8z" fill="{ink}"/></marker></defs>
<rect width="100%" height="100%" fill="{background}"/>
"""


class Drawing:
    """A picture of a fixed size. Coordinates are pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            _HEAD.format(
                width=width,
                height=height,
                title=escape(title),
                font="system-ui, sans-serif",
                ink=_INK,
                background=PLAIN,
            )
        ]

    def box(self, at: Point, size: Point, text: str, fill: str = PLAIN) -> None:
        """A rounded box with centred lines of text. The first line is bold."""
        (x, y), (width, height) = at, size
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" '
            f'stroke="{_INK}"/>'
        )
        lines = text.splitlines()
        # 4 px: SVG places text by its baseline, not by its middle.
        top = y + height / 2 - _LINE_PX * (len(lines) - 1) / 2 + 4
        for number, line in enumerate(lines):
            self.text((x + width / 2, top + number * _LINE_PX), line, bold=number == 0)

    def text(
        self, at: Point, text: str, *, bold: bool = False, anchor: str = "middle", size: int = 13
    ) -> None:
        """One line of text."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{at[0]}" y="{at[1]}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{_INK}"{weight}>{escape(text)}</text>'
        )

    def arrow(self, points: Sequence[Point], label: str = "", at: Point = (0, 0)) -> None:
        """A line with a tip at its last point, and a label centred at another point."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_INK}" marker-end="url(#tip)"/>'
        )
        for number, line in enumerate(label.splitlines()):
            self.text((at[0], at[1] + number * 15), line, size=12)

    def svg(self) -> str:
        """The picture as a document."""
        return "\n".join((*self._parts, "</svg>", ""))


def terminal(lines: Sequence[str], title: str) -> str:
    """A terminal with these lines, as SVG."""
    width, height = 8 * max(map(len, lines)) + 40, 18 * len(lines) + 40
    rows = "\n".join(
        f'<text x="20" y="{36 + 18 * number}" xml:space="preserve">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    head = _HEAD.format(
        width=width,
        height=height,
        title=escape(title),
        font="DejaVu Sans Mono, Menlo, Consolas, monospace",
        ink=_INK,
        background="#14202b",
    )
    return f'{head}<g fill="#e6edf3">\n{rows}\n</g>\n</svg>\n'
