"""Draws the pictures of the documentation into ``docs/img``: ``python -m tools.docs.pictures``.

The terminal and the report are from a new run of the demo. The others are diagrams.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tools.demo import REPORTS
from tools.docs.drawing import BLUE, GREEN, GREY, RED, YELLOW, Drawing, terminal
from tools.docs.tree import ROOT

FOLDER: Final = ROOT / "docs" / "img"
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")


def flow() -> str:
    """The flow from the roster to the readers, with the data that each step has."""
    drawing = Drawing(920, 330, "From the roster to the readers")
    boxes = (
        (20, "Roster\nyour list of persons", GREY),
        (205, "Reads\nevery area, to the\nlast page", BLUE),
        (390, "Drafts\ndifferences, not\nvisible to readers", YELLOW),
        (575, "Publication\none transaction,\none number", GREEN),
        (760, "Readers\nviews, report,\nexport", GREY),
    )
    for x, text, fill in boxes:
        drawing.box((x, 120), (140, 80), text, fill)
    for x in (160, 345, 715):
        drawing.arrow([(x, 160), (x + 43, 160)])
    drawing.arrow([(530, 160), (573, 160)], "guard", (551, 150))
    drawing.box((190, 20), (170, 50), "PTS\none person per request", GREY)
    drawing.arrow([(260, 120), (260, 72)])
    drawing.arrow([(290, 70), (290, 118)])
    drawing.arrow([(440, 120), (440, 95), (330, 95), (330, 118)])
    drawing.text((385, 87), "read again", size=12)
    drawing.arrow([(551, 165), (551, 238)])
    drawing.box((456, 240), (190, 44), "Withheld (5)\nthe last publication stays", RED)
    for left, right, text in (
        (20, 345, "identifiers"),
        (390, 715, "pseudonyms"),
        (760, 900, "pseudonyms or figures"),
    ):
        y = 310
        drawing.arrow([((left + right) / 2, y - 6), (left, y - 6)])
        drawing.arrow([((left + right) / 2, y - 6), (right, y - 6)])
        drawing.text(((left + right) / 2, y + 10), text, size=12)
    return drawing.svg()


def run_states() -> str:
    """The states of a run, and the exit codes of the process that leaves it there."""
    drawing = Drawing(860, 350, "The states of a run")
    drawing.box((30, 140), (130, 60), "sync starts", GREY)
    drawing.box((260, 140), (170, 60), "running\nreads and writes drafts", BLUE)
    drawing.box((600, 20), (230, 60), "published\n0, or 3 with gaps", GREEN)
    drawing.box((600, 140), (230, 60), "withheld\n5", RED)
    drawing.box((260, 270), (170, 60), "interrupted\n65 69 70 75 77 78", YELLOW)
    drawing.box((600, 270), (230, 60), "abandoned\ndrafts are deleted", GREY)
    drawing.arrow([(160, 170), (258, 170)], "has the lease", (209, 162))
    drawing.arrow([(95, 200), (95, 262)])
    drawing.text((95, 282), "another run has it: 4", size=12)
    drawing.arrow([(345, 140), (345, 50), (598, 50)], "the guard passes it", (470, 42))
    drawing.arrow([(430, 170), (598, 170)], "the guard stops it", (514, 162))
    drawing.arrow([(330, 200), (330, 268)], "stopped, or\nno area readable", (270, 230))
    drawing.arrow([(365, 268), (365, 202)], "the next sync\ncontinues it", (414, 230))
    drawing.arrow([(430, 300), (598, 300)], "no progress for\nsync.continue_within", (514, 278))
    return drawing.svg()


def passes() -> str:
    """A night in which a restriction disappears and a read fails."""
    drawing = Drawing(920, 300, "Two passes of a night")
    drawing.box((130, 20), (330, 34), "First pass: all persons", BLUE)
    drawing.box((540, 20), (190, 34), "Second pass", BLUE)
    drawing.box((770, 20), (130, 34), "Publication", GREEN)
    drawing.text((500, 42), "≥ 10 s", size=12)
    rows = (
        (85, "Kari", "unchanged", 160, "", "confirmed"),
        (145, "Ola", "block is missing", 240, "missing again", "block closes: gone"),
        (205, "Nils", "503", 330, "read", "confirmed"),
    )
    for y, name, first, x, second, result in rows:
        drawing.text((30, y + 20), name, anchor="start", bold=True)
        drawing.box((x, y), (130, 34), first, RED if first != "unchanged" else GREEN)
        if second:
            drawing.arrow([(x + 130, y + 17), (568, y + 17)], "new connection", (515, y + 10))
            drawing.box((570, y), (130, 34), second, GREEN)
            drawing.arrow([(700, y + 17), (768, y + 17)])
        else:
            drawing.arrow([(x + 130, y + 17), (768, y + 17)])
        drawing.text((835, y + 22), result)
    drawing.arrow([(130, 265), (900, 265)], "time", (515, 284))
    return drawing.svg()


def house() -> str:
    """The layers of the program. Each imports only those below it."""
    drawing = Drawing(860, 400, "The layers of the program")
    drawing.box((330, 15), (200, 44), "cli\ncommands, exit codes", GREY)
    drawing.box((330, 95), (200, 44), "app\nbuilds the parts", GREY)
    drawing.box((150, 175), (200, 44), "sync\none run", BLUE)
    drawing.box((510, 175), (200, 44), "report\nHTML, export", BLUE)
    drawing.box((20, 255), (160, 44), "pts, helseid, http\nreads PTS", YELLOW)
    drawing.box((200, 255), (160, 44), "roster\npersons", YELLOW)
    drawing.box((380, 255), (160, 44), "store\ndrafts, publication", YELLOW)
    drawing.box((20, 340), (820, 44), "core\ndecisions as functions of values", GREEN)
    drawing.arrow([(430, 59), (430, 93)])
    drawing.arrow([(400, 139), (250, 173)])
    drawing.arrow([(460, 139), (610, 173)])
    drawing.arrow([(210, 219), (110, 253)])
    drawing.arrow([(250, 219), (275, 253)])
    drawing.arrow([(300, 219), (440, 253)])
    drawing.arrow([(610, 219), (610, 338)])
    for x in (100, 280, 460):
        drawing.arrow([(x, 299), (x, 338)])
    return drawing.svg()


DIAGRAMS: Final[Mapping[str, Callable[[], str]]] = {
    "flow": flow,
    "run-states": run_states,
    "passes": passes,
    "house": house,
}


def demo_terminal(output: str) -> str:
    """The nights of a demo, from its output."""
    # The heading of the nights begins with their number.
    _, nights = re.split(r"(?m)^(?=\d+ nights)", output.partition("\n\nTonight")[0])
    done = next(line for line in output.splitlines() if line.startswith("Done in"))
    return terminal(["$ make demo", "…", *nights.splitlines(), "…", done], "make demo")


def screenshot(page: Path, picture: Path) -> bool:
    """Save the first screen of a page as PNG. False without a browser."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return False
    flags = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,780")
    subprocess.run(
        [browser, *flags, f"--screenshot={picture}", page.absolute().as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return True


def main() -> None:
    """Draw all pictures."""
    for name, draw in DIAGRAMS.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")
    # A new demo, so that the pictures show the present program.
    demo = subprocess.run(
        [sys.executable, "-m", "tools.demo"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    (FOLDER / "demo.svg").write_text(demo_terminal(demo.stdout), encoding="utf-8")
    if not screenshot(ROOT / REPORTS["en"], FOLDER / "report.png"):
        print("NOT DRAWN: the report, as no Chromium is installed")


if __name__ == "__main__":
    main()
