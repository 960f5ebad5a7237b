"""Plays the night anew and records it in docs/drills.md: with this module.

Each recorded block of the page stands below a comment ``<!-- night: NAME -->``. Needs faketime and
promtool.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.databases import migrate_now
from tests.support.deployment.deployed import ROOT
from tests.support.deployment.night import Night, play

PAGE: Final = ROOT / "docs" / "drills.md"
SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "schedule.started": ("cron", "timezone", "next"),
    "run.began": ("run", "continued"),
    "run.interrupted": ("reason",),
    "schedule.retrying": ("code", "retry", "wait_s"),
    "run.published": ("code", "persons_total", "persons_complete", "rows_opened", "rows_closed"),
    "run.summary": ("status", "code"),
    "schedule.waiting": ("next",),
    "schedule.ended": (),
}
"""The events of the recording, and their fields; the log has more of both."""


def blocks(night: Night) -> dict[str, str]:
    """The recorded blocks by name."""
    alerts = "".join(
        f"{hours:g} h after the start: {', '.join(names) or 'none'}\n"
        for hours, names in night.alerts.items()
    )
    return {
        "log": "".join(map(_line, night.events(*SHOWN))),
        **{f"metrics {when}": _metrics(text) for when, text in night.metrics.items()},
        "alerts": alerts,
        "pings": "".join(f"{ping}\n" for ping in night.pings),
        "ledger": "".join(f"{status} {code}\n" for status, code in night.runs),
    }


def _line(event: Mapping[str, Any]) -> str:
    fields = " ".join(f"{name}={event[name]}" for name in SHOWN[event["event"]])
    return f"{event['timestamp'][11:19]} {event['event']:<17} {fields}".rstrip() + "\n"


def _metrics(text: str) -> str:
    wanted = re.compile(r"pts_worker_(exit_code|last_\w+|stale_persons)\b")
    return "".join(f"{line}\n" for line in text.splitlines() if wanted.match(line))


def recorded(page: str, found: Mapping[str, str]) -> str:
    """The page with these blocks in the place of its own.

    Raises:
        KeyError: the page has a block that was not recorded.
    """
    return re.sub(
        r"(<!-- night: (.+?) -->\n\n```text\n).*?```",
        lambda match: f"{match[1]}{found[match[2]]}```",
        page,
        flags=re.DOTALL,
    )


def main() -> None:
    """Play, and write the page."""
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "pts.db"
        migrate_now(f"sqlite:///{database}")
        night = play(Path(name) / "night", database)
    PAGE.write_text(recorded(PAGE.read_text("utf-8"), blocks(night)), "utf-8")


if __name__ == "__main__":
    main()
