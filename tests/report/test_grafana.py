"""``config/grafana/reporting.json``: each query, as the figures-only role, on a month of nights."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import anyio
import asyncpg
import pytest
import yaml
from sqlalchemy import make_url

from tests.architecture.documents import ROOT
from tests.report.browser_report import NIGHTS
from tests.support.databases import execute, in_database
from tests.support.report.month_on_postgresql import fill

FOLDER: Final = ROOT / "config" / "grafana"
DASHBOARD: Final = json.loads((FOLDER / "reporting.json").read_text(encoding="utf-8"))
ROLES: Final = (ROOT / "config" / "postgresql" / "roles.sql").read_text(encoding="utf-8")
PANELS: Final = {panel["title"]: panel for panel in DASHBOARD["panels"]}
NAME, ACCOUNT = "pts_grafana", "grafana"


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
    """A month of nights, as the account of Grafana sees it."""
    anyio.run(execute, postgres_url, f"CREATE DATABASE {NAME} TEMPLATE {migrated_postgres}")
    url = in_database(postgres_url, NAME)
    anyio.run(fill, url)
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
    anyio.run(
        execute,
        postgres_url,
        f"DROP DATABASE {NAME} WITH (FORCE)",
        f"DROP ROLE {ACCOUNT}",
        "DROP ROLE grafana_persons",
        "DROP ROLE grafana_figures",
    )


@pytest.fixture
async def grafana(month_url: str) -> AsyncIterator[Any]:
    """A connection of that account."""
    connection = await asyncpg.connect(month_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("title", PANELS)
async def test_every_panel_shows_something(grafana: Any, title: str):
    """In the form that its kind of panel can draw, and nothing that it cannot: no empty number."""
    panel = PANELS[title]
    (target,) = panel["targets"]
    rows = await grafana.fetch(asked(target))
    assert rows
    kind, form = panel["type"], target["format"]
    assert ("time_series" if kind == "timeseries" else "table") == form
    if kind == "stat":
        ((value,),) = rows
        assert value > 0
    if kind == "timeseries":
        # Grafana takes long tables apart by their text columns, and wants them in order of time.
        times = [row["time"] for row in rows]
        assert times == sorted(times)
        assert all(isinstance(time, datetime) and time.tzinfo for time in times)
        numbers = [value for row in rows for value in row.values() if _is_number(value)]
        assert any(numbers), "more than zeros"
        assert len(set(times)) >= NIGHTS - 1
    shown = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    assert shown <= set(rows[0].keys())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal)


async def test_figures_are_those_of_the_last_publication(grafana: Any):
    """The tables by code and by clinic add up to what the tiles show."""
    rows = {
        title: await grafana.fetch(asked(panel["targets"][0])) for title, panel in PANELS.items()
    }
    in_effect = rows["Restrictions in effect"][0][0]
    assert in_effect == sum(row["in_effect"] for row in rows["What they are"])
    groups = rows["In effect, by what they do"]
    last = max(row["time"] for row in groups)
    assert in_effect == sum(row["in_effect"] for row in groups if row["time"] == last)
    persons = rows["Persons with a restriction in effect"][0][0]
    clinics = rows["By clinic or department"]
    assert persons == sum(row["persons_in_effect"] for row in clinics)
    confirmed = sum(row["roster"] * row["confirmed"] for row in clinics)
    roster = sum(row["roster"] for row in clinics)
    assert pytest.approx(confirmed / roster) == rows["Persons confirmed"][0][0]
    assert 0 < rows["Persons confirmed"][0][0] < 1
    assert 23 * 3600 < rows["Age of the publication"][0][0] < 26 * 3600
    endings = {row["ended"].partition(":")[0] for row in rows["Runs"]}
    assert endings == {"0", "3", "5", ""}, "the last one is open"


async def test_withheld_nights_are_marked(grafana: Any):
    """The annotation finds the one of the month, and says why."""
    (mark,) = DASHBOARD["annotations"]["list"]
    ((at, text),) = await grafana.fetch(asked(mark["target"]))
    assert at.tzinfo
    assert text == "withheld: too many removals"


async def test_the_account_sees_no_person(grafana: Any):
    """The dashboard needs no more than figures."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await grafana.fetch("SELECT person_key FROM report_person_freshness")


def test_the_data_source_is_of_the_kind_that_the_dashboard_asks_for():
    """Over verified TLS, with its password in a file."""
    text = (FOLDER / "datasource.yaml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    (variable,) = DASHBOARD["templating"]["list"]
    assert source["type"] == variable["query"]
    assert source["jsonData"]["sslmode"] == "verify-full"
    assert re.fullmatch(r"\$__file\{/.+\}", source["secureJsonData"]["password"])


def test_every_query_asks_the_chosen_data_source():
    """Also each target and the annotation, not only the panel."""
    (mark,) = DASHBOARD["annotations"]["list"]
    kind = DASHBOARD["templating"]["list"][0]["query"]
    asking = [mark, mark["target"], *PANELS.values()]
    asking += [target for panel in PANELS.values() for target in panel["targets"]]
    assert all(one["datasource"] == {"type": kind, "uid": "${datasource}"} for one in asking)
