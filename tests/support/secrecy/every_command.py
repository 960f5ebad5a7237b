"""Every command, as it is called among bad answers; and calls with an identifier where none may be.

Both give lines of arguments, each with what stands on standard input.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.secrecy.nights import Night

DOCUMENT: Final = Path(__file__).parents[1] / "openapi" / "envelope.json"
"""A description of PTS's interface, as NHN might give one."""


def calls_of(night: Night) -> Iterator[tuple[str, str]]:
    """One line and more for each command that ends by itself."""
    known, gone, other = night.healthy[:3]
    failed = next(off_id for off_id, _ in night.plan)
    yield from (
        ("db check", ""),
        ("db upgrade", ""),
        ("init --out new.toml", ""),
        ("config check", ""),
        ("config show", ""),
        ("config show --json", ""),
        ("contract show", ""),
        ("contract show --json", ""),
        (f"contract from-openapi {DOCUMENT}", ""),
        ("contract learn", f"{known}\n{failed}\n"),
        ("keys new --out keys/new.jwk", ""),
        ("keys public", ""),
        ("keys rotate", ""),
        ("keys pseudonym --out keys/new.key", ""),
        ("sync --json", ""),
        ("status", ""),
        ("status --json", ""),
        ("failures list", ""),
        ("failures list --json", ""),
        ("failures show -", f"{failed}\n"),
        ("backfill --failed --log-format console", ""),
        ("explain", f"{known}\n"),
        ("explain --json", f"{failed}\n"),
        ("backfill --person -", f"{known}\n{failed}\n{other[:9]}\n"),
        ("doctor --probe --person - --set log.level=DEBUG", f"{failed}\n"),
        ("doctor --probe --json", ""),
        ("export --out exported/csv", ""),
        ("report --out report.html --min-cell 0", ""),
        ("report --out rapport.html --language nn", ""),
        ("db backup exported/pts.db", ""),
        ("erase --json", f"{gone}\n"),
    )


def wrong_calls_of(night: Night) -> Iterator[tuple[str, str]]:
    """Calls that give an identifier, or what is nearly one, where it must not stand."""
    off_id = night.healthy[0]
    grouped = f"{off_id[:6]} {off_id[6:]}"
    for command in ("explain", "erase", "backfill --person", "failures show"):
        yield f"{command} {off_id}", ""
    yield f"explain {grouped} --json", ""
    yield f"sync --{off_id}", ""
    yield off_id, ""
    yield "explain", f"{off_id}7\n"
    yield "erase --json", f"{grouped}7\n"
