"""``config/grafana/reporting.json``: each query, as the figures-only role, on nights of a month."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import anyio
import asyncpg
import pytest
import yaml
from sqlalchemy import make_url

from tests.support.databases import execute, in_database
from tests.support.documents import ROOT
from tests.support.report.month import fill

FOLDER: Final = ROOT / "config" / "grafana"
DASHBOARD: Final = json.loads((FOLDER / "reporting.json").read_text(encoding="utf-8"))
ROLES: Final = (ROOT / "config" / "postgresql" / "roles.sql").read_text(encoding="utf-8")
PANELS: Final = {panel["title"]: panel for panel in DASHBOARD["panels"]}
(MARK,) = DASHBOARD["annotations"]["list"]
NAME, ACCOUNT, NIGHTS = "pts_grafana", "grafana", 5


def asked(target: dict[str, Any]) -> str:
    """A query as Grafana sends it for the dashboard's own time range.

    It knows a few macros, of which we use one; of another it says "unknown macro".
    """
    span = "now() - interval '90 days' AND now()"
    sql = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN {span}", target["rawSql"])
    assert "$" not in sql, sql
    return sql


@pytest.fixture(scope="module")
def month_url(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """Some nights, one of them withheld, as the account of Grafana sees them."""
    anyio.run(execute, postgres_url, f"CREATE DATABASE {NAME} TEMPLATE {migrated_postgres}")
    url = in_database(postgres_url, NAME)
    anyio.run(lambda: fill(url, nights=NIGHTS))
    anyio.run(
        execute,
        url,
        "SET pts.reader = 'grafana_persons'",
        "SET pts.aggregate_reader = 'grafana_figures'",
        ROLES,
        f"CREATE ROLE {ACCOUNT} LOGIN",
        f"GRANT grafana_figures TO {ACCOUNT}",
        f"ALTER ROLE {ACCOUNT} SET default_transaction_read_only = on",
    )
    yield make_url(url).set(username=ACCOUNT).render_as_string(hide_password=False)
    roles = (ACCOUNT, "grafana_persons", "grafana_figures")
    drop = [f"DROP DATABASE {NAME} WITH (FORCE)", *(f"DROP ROLE {role}" for role in roles)]
    anyio.run(execute, postgres_url, *drop)


async def test_every_panel_shows_what_the_publication_says(month_url: str):
    """Each in the form that its kind can draw; tables add up to what the tiles show.

    The withheld night is marked, and no query of the account reaches a person.
    """
    connection = await asyncpg.connect(month_url)
    try:
        shown = {
            title: await connection.fetch(asked(panel["targets"][0]))
            for title, panel in PANELS.items()
        }
        ((at, text),) = await connection.fetch(asked(MARK["target"]))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT person_key FROM report_person_freshness")
    finally:
        await connection.close()
    assert at.tzinfo
    assert text == "withheld: too many removals"
    for title, rows in shown.items():
        assert rows, title
        assert_drawable(PANELS[title], rows)
    in_effect = shown["Restrictions in effect"][0][0]
    assert in_effect == sum(row["in_effect"] for row in shown["What they are"])
    groups = shown["In effect, by what they do"]
    last = max(row["time"] for row in groups)
    assert in_effect == sum(row["in_effect"] for row in groups if row["time"] == last)
    clinics = shown["By clinic or department"]
    persons = shown["Persons with a restriction in effect"][0][0]
    assert persons == sum(row["persons_in_effect"] for row in clinics)
    assert [row["per_1000_persons"] for row in clinics] == pytest.approx(
        [1000 * row["persons_in_effect"] / row["roster"] for row in clinics]
    )
    flows, runs = shown["What came and went"], shown["Runs"]
    for names, total in (
        (("added", "joined with persons"), "rows_opened"),
        (("changed",), "rows_changed"),
        (("removed", "departed with persons"), "rows_closed"),
    ):
        amounts = [abs(row[name]) for row in flows for name in names]
        assert sum(amounts) == sum(row[total] for row in runs if row["status"] == "published"), (
            total
        )
    confirmed = sum(row["roster"] * row["confirmed"] for row in clinics)
    share = shown["Persons confirmed"][0][0]
    assert share == pytest.approx(confirmed / sum(row["roster"] for row in clinics))
    assert 0 < share < 1
    endings = {row["ended"].partition(":")[0] for row in shown["Runs"]}
    assert endings == {"0", "3", "5", ""}, "the last one is open"


def assert_drawable(panel: dict[str, Any], rows: list[Any]) -> None:
    """Rows in the form of the panel's kind, with every column that it styles, and no empty tile."""
    title, kind = panel["title"], panel["type"]
    units = {"Persons confirmed": "percentunit", "Age of the publication": "s"}
    units["Duration of runs"] = "s"
    assert panel["fieldConfig"]["defaults"]["unit"] == units.get(title, "short"), title
    form = "time_series" if kind == "timeseries" else "table"
    assert panel["targets"][0]["format"] == form, title
    if kind == "stat":
        ((value,),) = rows
        assert value > 0, title
    if kind == "timeseries":
        # Grafana takes long tables apart by their text columns, and wants them in order of time.
        times = [row["time"] for row in rows]
        assert times == sorted(times), title
        assert all(isinstance(time, datetime) and time.tzinfo for time in times), title
        assert len(set(times)) >= NIGHTS - 1, title
    styled = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    assert styled <= set(rows[0].keys()), title


def test_the_data_source_is_of_the_kind_that_the_dashboard_asks_for():
    """Over verified TLS, with its password in a file; each query asks the chosen one."""
    text = (FOLDER / "datasource.yaml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    (variable,) = DASHBOARD["templating"]["list"]
    assert source["type"] == variable["query"]
    assert source["jsonData"]["sslmode"] == "verify-full"
    assert re.fullmatch(r"\$__file\{/.+\}", source["secureJsonData"]["password"])
    (provider,) = yaml.safe_load((FOLDER / "provisioning.yaml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False, "an edit would be lost at the next start"
    asking = [MARK, MARK["target"], *PANELS.values()]
    asking += [target for panel in PANELS.values() for target in panel["targets"]]
    chosen = {"type": variable["query"], "uid": "${datasource}"}
    assert [one["datasource"] for one in asking] == [chosen] * len(asking)
