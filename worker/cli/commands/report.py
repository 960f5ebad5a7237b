"""``report``: the published state as one HTML page."""

from typing import Any

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option
from worker.core.small_numbers import LEAST, LEAST_MIN, OFF
from worker.report.language import LANGUAGES

HELP = """Write the published state as one HTML file that needs nothing else.

For a director: what is in effect and for how many patients, what came and went in a week, the
trend, codes with their meaning, how old restrictions are, when delays end, what PTS lists past its
end, how fresh the figures are. With `--cohort` the page is about one clinic or
department.

It names no person. Counts of fewer persons than `--min-cell` are shown as such, and all others are
rounded to five, totals too. A count that crosses a step of five between two reports still shows
that it moved. Only the file's owner can read it (0600). An old one is replaced.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: file, state, published_at.

Example: `pts-worker report --out rapport.html`
"""


class MinCell(click.ParamType[int, str]):
    """The limit of small numbers: 0 for none, or a limit that hides something."""

    name = "persons"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        text = str(value)
        number = int(text) if text.isascii() and text.isdigit() else -1
        if number != OFF and number < LEAST_MIN:
            self.fail(
                f"give {LEAST_MIN} or more (below 2 there is only 1, so a lower limit hides "
                f"nothing), or {OFF} to show exact numbers",
                param,
                ctx,
            )
        return number


command = options.command(
    "report",
    HELP,
    click.option("--out", type=options.NewPath(), required=True, help="The file."),
    click.option(
        "--language",
        type=click.Choice(LANGUAGES),
        metavar="LANGUAGE",
        default=LANGUAGES[0],
        show_default=True,
        help="nb (bokmål), nn (nynorsk) or en.",
    ),
    click.option("--cohort", metavar="NAME", help="Only this clinic or department of the roster."),
    click.option(
        "--min-cell",
        type=MinCell(),
        metavar="N",
        default=LEAST,
        show_default=True,
        help="Show counts of fewer than N persons as such; 0 shows all numbers exactly.",
    ),
    purpose_option,
    options.database,
)
