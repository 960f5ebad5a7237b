"""The reporting views as a reader finds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.support.model.values import AREAS, PRIVACY, SAFETY, BrokenPromiseError

STATEMENTS = {
    "freshness": "SELECT * FROM report_person_freshness",
    "daily": "SELECT day, area, CAST(SUM(added + joined_with) AS BIGINT) AS added, "
    "CAST(SUM(changed) AS BIGINT) AS changed, "
    "CAST(SUM(removed + departed_with) AS BIGINT) AS removed FROM report_daily GROUP BY day, area "
    "HAVING SUM(added + joined_with + changed + removed + departed_with) > 0",
    "runs": "SELECT * FROM report_run ORDER BY run_id",
    **{
        f"{view} {area}": f"SELECT * FROM report_{area.replace('-', '_')}_{view}"
        for area in AREAS
        for view in ("current", "history")
    },
}
"""Everything that a test reads; one transaction must have read it all."""

COLUMNS = {
    SAFETY: ("confidentiality_code", "delay_days", "delay_delivery_until", "delay_is_indefinite"),
    PRIVACY: ("privacy_type", "privacy_level", "restriction_domain"),
}
"""Columns of which the views' rows are compared with what PTS sent."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Everything that readers see at one instant: rows of each view, as dicts."""

    tables: Mapping[str, list[dict[str, Any]]]

    def of(self, view: str) -> list[dict[str, Any]]:
        """``current`` or ``history``: the rows of both areas, each with its area."""
        return [{"area": area, **row} for area in AREAS for row in self.tables[f"{view} {area}"]]

    def published(self) -> list[dict[str, Any]]:
        """The runs that were published, in order."""
        rows = [row for row in self.tables["runs"] if row["publication_no"] is not None]
        return sorted(rows, key=lambda row: row["publication_no"])


def views_of(found: Mapping[str, Iterable[Mapping[str, Any]]]) -> Views:
    """What came of each of ``STATEMENTS``, by its name."""
    return Views(
        tables={
            name: [{k: plain(k, v) for k, v in dict(row).items()} for row in rows]
            for name, rows in found.items()
        }
    )


def plain(name: str, value: Any) -> Any:
    """A value as Python has it; SQLite keeps times as text and truth as 0 or 1."""
    if isinstance(value, str) and len(value) == 32 and value[10] == "T" and value[19] == ".":
        return datetime.fromisoformat(value)
    if name in {"is_stale", "delay_is_indefinite"} and value is not None:
        return bool(value)
    return value


def same(expected: Any, shown: Any, what: str) -> None:
    """Raise with the differences alone."""
    if expected == shown:
        return
    if isinstance(expected, Mapping) and isinstance(shown, Mapping):
        keys = sorted(expected.keys() | shown.keys(), key=str)
        parts = [
            (k, expected.get(k), shown.get(k)) for k in keys if expected.get(k) != shown.get(k)
        ]
    else:
        parts = [
            ("only expected", [one for one in expected if one not in shown], ""),
            ("only shown", "", [one for one in shown if one not in expected]),
        ]
    lines = "\n".join(f"  {name}: expected {old!r}, shown {new!r}" for name, old, new in parts)
    raise BrokenPromiseError(f"{what}:\n{lines}")
