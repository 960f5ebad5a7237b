"""The reporting views as a reader finds them, and what must hold of them whatever is in them."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.simulation.stateful.model import Row, Snapshot, canonical
from tests.simulation.stateful.source import AREAS, PRIVACY, SAFETY
from worker.store.database import Database

COLUMNS = {
    SAFETY: ("confidentiality_code", "delay_days", "delay_delivery_until", "delay_is_indefinite"),
    PRIVACY: ("privacy_type", "privacy_level", "restriction_domain"),
}
"""Columns of which the views' rows are compared with their own payload."""

_STATEMENTS = {
    "freshness": "SELECT * FROM report_person_freshness",
    "daily": "SELECT day, area, added, changed, removed FROM report_daily_change",
    "runs": "SELECT * FROM report_run ORDER BY run_id",
    "drift": "SELECT area, field, kind, first_run FROM drift",
    "keys": "SELECT area, key_path FROM area_key",
    **{
        f"{view} {area}": f"SELECT * FROM report_{area.replace('-', '_')}_{view}"
        for area in AREAS
        for view in ("current", "history")
    },
}


@dataclass(frozen=True, kw_only=True)
class Views:
    """Everything that readers see at one instant: rows of each view, as dicts."""

    tables: Mapping[str, list[dict[str, Any]]]

    def of(self, view: str) -> list[dict[str, Any]]:
        """``current`` or ``history``: the rows of both areas, each with its area."""
        return [{"area": area, **row} for area in AREAS for row in self.tables[f"{view} {area}"]]


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
    raise AssertionError(f"{what}:\n{lines}")


async def look(database: Database) -> Views:
    """Read all views in one transaction."""

    async def work(connection: AsyncConnection) -> Mapping[str, list[dict[str, Any]]]:
        tables = {}
        for name, statement in _STATEMENTS.items():
            found = await connection.execute(text(statement))
            tables[name] = [{k: _plain(k, v) for k, v in row.items()} for row in found.mappings()]
        return tables

    return Views(tables=await database.read(work))


def _plain(name: str, value: Any) -> Any:
    """A value as Python has it; SQLite keeps times as text and truth as 0 or 1."""
    if isinstance(value, str) and len(value) == 32 and value[10] == "T" and value[19] == ".":
        return datetime.fromisoformat(value)
    if name in {"is_stale", "delay_is_indefinite"} and value is not None:
        return bool(value)
    return value


def row_of(shown: Mapping[str, Any], shape: Mapping[str, str]) -> Row:
    """The model's name of a row: a digest is told by what was digested."""
    key = shown["restriction_id"]
    if shape[shown["area"]] == "digest":
        assert len(key) == 32
        key = digest_name(shown["person_key"], payload_of(shown))
    return shown["area"], shown["person_key"], key


def digest_name(person: str, payload: str) -> str:
    """The model's name of a restriction that has no key: no other person can have the same."""
    return f"{person} {payload}"


def payload_of(shown: Mapping[str, Any]) -> str:
    """The payload in the model's spelling."""
    return canonical(json.loads(shown["payload"]))


def check_columns(shown: Mapping[str, Any]) -> None:
    """The typed columns say what the payload says."""
    said = json.loads(shown["payload"])
    until = said.get("delayDeliveryUntil")
    if until is not None:
        until = datetime.fromisoformat(until)
    said = {
        "confidentiality_code": said.get("confidentialityCode"),
        "delay_days": said.get("delayDays"),
        "delay_delivery_until": until,
        "delay_is_indefinite": None if until is None else until.year == 9999,
        "privacy_type": said.get("privacyType"),
        "privacy_level": said.get("privacyLevel"),
        "restriction_domain": said.get("restrictionDomain"),
    }
    names = COLUMNS[shown["area"]]
    same({n: said[n] for n in names}, {n: shown[n] for n in names}, "columns and payload")


def check_history(
    views: Views, snapshots: list[Snapshot], shape: Mapping[str, str]
) -> Mapping[tuple[Any, ...], int]:
    """Intervals are half-open, do not overlap, leave no gap, and give back each publication.

    Returns:
        The versions that have ended, and the run that ended each.
    """
    numbers = {one.run_id: number for number, one in enumerate(snapshots)}
    times = {one.run_id: one.published_at for one in snapshots}
    spans: dict[Row, list[tuple[int, int]]] = defaultdict(list)
    by_number: list[dict[Row, str]] = [{} for _ in snapshots]
    by_time: list[dict[Row, str]] = [{} for _ in snapshots]
    ended = {}
    for shown in views.of("history"):
        row, payload = row_of(shown, shape), payload_of(shown)
        begin, closed_run = numbers[shown["opened_run"]], shown["closed_run"]
        end = len(snapshots) if closed_run is None else numbers[closed_run]
        assert begin < end, "a version ends before it begins"
        assert times[shown["opened_run"]] == shown["valid_from"]
        assert times.get(closed_run) == shown["valid_to"]
        if closed_run is not None:
            ended[(*row, shown["opened_run"])] = closed_run
        spans[row].append((begin, end))
        for number, one in enumerate(snapshots):
            if begin <= number < end:
                by_number[number][row] = payload
            if shown["valid_from"] <= one.published_at and (
                shown["valid_to"] is None or one.published_at < shown["valid_to"]
            ):
                by_time[number][row] = payload
    _check_spans(spans, snapshots)
    for number, one in enumerate(snapshots):
        same(one.rows, by_number[number], f"as of publication {number + 1}")
        same(one.rows, by_time[number], f"as of the time of publication {number + 1}")
    return ended


def _check_spans(spans: Mapping[Row, list[tuple[int, int]]], snapshots: list[Snapshot]) -> None:
    for row, intervals in spans.items():
        intervals.sort()
        for (_, end), (begin, _) in pairwise(intervals):
            assert end <= begin, "two versions of a restriction overlap"
            held_on = any(row in one.rows for one in snapshots[end:begin])
            assert end == begin or not held_on, "a gap in a restriction that was never away"
