"""Alert rules call for what they say and nothing else; rules and dashboard name real metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deployment.alerting import firing
from tests.support.deployment.deployed import FOR_A_PERSON, OVER, ROOT, run, tool
from worker.errors import ExitCode
from worker.telemetry import HELP, PREFIX

RULES = ROOT / "config" / "prometheus" / "pts-worker.rules.yml"
DASHBOARDS = ROOT / "config" / "grafana"
DASHBOARD = json.loads((DASHBOARDS / "operations.json").read_text())
DAY = 24 * 3600

QUIET: dict[str, int | None] = {  # one night: published at 0:00, looked at through the day
    "last_published_timestamp_seconds": 0,
    "last_success_timestamp_seconds": 0,
    'exit_code{run="sync"}': ExitCode.OK,
    "stale_persons": 5,
    "known_persons": 500,
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> Iterator[str]:
    """What rules and dashboard ask Prometheus."""
    yield from (rule["expr"] for rule in rules())
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def series(hours: int, **changes: Any) -> list[dict[str, str]]:
    """The numbers of a night, which stay as they are, as promtool takes them."""
    return [
        {"series": PREFIX + name, "values": f"{value:d}x{2 * hours}"}
        for name, value in (QUIET | changes).items()
        if value is not None
    ]


def promtool(folder: Path, tests: list[dict[str, Any]]) -> None:
    """Hold the numbers of each test against our rules."""
    (folder / RULES.name).write_text(RULES.read_text())
    document = {"rule_files": [RULES.name], "evaluation_interval": "30m", "tests": tests}
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    done = run([tool("promtool"), "test", "rules", str(folder / "test.yml")])
    assert done.returncode == 0, done.stdout + done.stderr


NEVER_CLEAN: dict[str, int | None] = {
    "last_published_timestamp_seconds": 6 * DAY,
    "last_success_timestamp_seconds": None,
}
FAILED_BACKFILL: dict[str, int | None] = {
    'exit_code{run="backfill"}': ExitCode.CONFIGURATION,
    'last_run_timestamp_seconds{run="backfill"}': 0,
    'last_run_timestamp_seconds{run="sync"}': 0,
}
FAILED_NIGHT: dict[str, int | None] = FAILED_BACKFILL | {
    'exit_code{run="backfill"}': ExitCode.OK,
    'exit_code{run="sync"}': ExitCode.CONFIGURATION,
}
CASES: list[tuple[int, set[str], dict[str, int | None]]] = [
    (24, set(), {}),
    (36, set(), {}),
    (37, {"PtsNotPublished"}, {}),
    (8 * 24, {"PtsNotPublished", "PtsNotWithoutGaps"}, {}),
    (8 * 24, {"PtsNotWithoutGaps"}, {"last_published_timestamp_seconds": 8 * DAY}),
    (1, {"PtsPublishedInTheFuture"}, {"last_published_timestamp_seconds": 3600 + 601}),
    (1, set(), {"last_published_timestamp_seconds": 3600 + 599}),
    (5, set(), {"last_published_timestamp_seconds": None}),
    (7, {"PtsNoNumbers"}, {"last_published_timestamp_seconds": None}),
    (1, {"PtsStaleShare"}, {"stale_persons": 6}),
    (1, {"PtsNewField"}, {'new_undeclared_fields{run="sync"}': 1}),
    (1, set(), {'new_undeclared_fields{run="backfill"}': 1}),
    (7 * 24 - 1, set(), NEVER_CLEAN),
    (7 * 24 + 1, {"PtsNeverWithoutGaps"}, NEVER_CLEAN),
    (23, {"PtsNeedsAPerson"}, FAILED_BACKFILL),
    (25, set(), FAILED_BACKFILL),
    (23, {"PtsWithheld"}, FAILED_BACKFILL | {'exit_code{run="backfill"}': ExitCode.WITHHELD}),
    (25, set(), FAILED_BACKFILL | {'exit_code{run="backfill"}': ExitCode.WITHHELD}),
    (23, {"PtsUnavailable"}, FAILED_BACKFILL | {'exit_code{run="backfill"}': ExitCode.UNAVAILABLE}),
    (25, set(), FAILED_BACKFILL | {'exit_code{run="backfill"}': ExitCode.UNAVAILABLE}),
    (25, {"PtsNeedsAPerson"}, FAILED_NIGHT),
    (5, set(), {'exit_code{run="sync"}': ExitCode.UNAVAILABLE}),
    (7, {"PtsUnavailable"}, {'exit_code{run="sync"}': ExitCode.UNAVAILABLE}),
    (1, {"PtsWithheld"}, {'exit_code{run="sync"}': ExitCode.WITHHELD}),
]
CASES += [
    (1, {"PtsNeedsAPerson"}, {'exit_code{run="backfill"}': code})
    for code in sorted(FOR_A_PERSON - {ExitCode.WITHHELD})
]
CASES += [(1, set(), {'exit_code{run="sync"}': code}) for code in sorted(OVER | {ExitCode.STOPPED})]


@pytest.mark.nightly  # promtool
def test_alerts_call_for_what_they_say(tmp_path: Path):
    """Prometheus' own program evaluates the rules over made-up nights."""
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    promtool(
        tmp_path,
        [
            {
                "name": f"{hours} h, {changes}: {sorted(expected)}",
                "interval": "30m",
                "input_series": series(hours, **changes),
                "promql_expr_test": [
                    {
                        "expr": firing,
                        "eval_time": f"{hours}h",
                        "exp_samples": [
                            {"labels": f'{{alertname="{name}"}}', "value": 1}
                            for name in sorted(expected)
                        ],
                    }
                ],
            }
            for hours, expected, changes in CASES
        ],
    )


@pytest.mark.parametrize(("hours", "expected", "changes"), CASES)
def test_alerts_by_day(hours: int, expected: set[str], changes: dict[str, int | None]):
    """The same nights without Prometheus' program, whose language ``firing`` speaks in part."""
    numbers = {
        PREFIX + name: value for name, value in (QUIET | changes).items() if value is not None
    }
    assert {rule["alert"] for rule in rules() if firing(rule, numbers, hours * 3600)} == expected


WARNINGS = {"PtsNotWithoutGaps", "PtsNeverWithoutGaps", "PtsUnavailable", "PtsStaleShare"}


def test_an_alert_that_cannot_wait_is_critical():
    """No publication, or a person must look: pages at night; the rest is of the next day."""
    severity = {rule["alert"]: rule["labels"] for rule in rules()}
    warnings = {name for name, labels in severity.items() if labels == {"severity": "warning"}}
    assert warnings == WARNINGS | {"PtsNewField"}
    rest = [labels for name, labels in severity.items() if name not in warnings]
    assert [labels for labels in rest if labels != {"severity": "critical"}] == []


def test_an_alert_names_a_command():
    """The first command stands in each description."""
    texts = [rule["annotations"]["description"] for rule in rules()]
    assert [text for text in texts if not re.search(r"pts-worker (status|doctor|fail)", text)] == []


def test_every_alert_is_tried():
    """No rule stands there that no night has called."""
    assert {rule["alert"] for rule in rules()} == set().union(*(case[1] for case in CASES))


def test_rules_and_dashboard_name_metrics_that_exist():
    """A metric that is renamed would leave an alert that never fires."""
    named = {name for text in expressions() for name in re.findall(rf"{PREFIX}\w+", text)}
    assert named <= {PREFIX + name for name in HELP}
    shown = {
        name for panel in DASHBOARD["panels"] for name in re.findall(rf"{PREFIX}\w+", str(panel))
    }
    assert shown == {PREFIX + name for name in HELP}


def test_panels_show_the_nightly_run_in_its_units():
    """A backfill has lines of its own or none; ages and durations are seconds."""
    for panel in DASHBOARD["panels"]:
        asked = " ".join(target["expr"] for target in panel["targets"])
        assert set(re.findall(r'run="(\w+)"', asked)) <= {"sync"}, panel["title"]
        units = [("s", "_seconds"), ("percentunit", " / "), ("short", "")]
        expected = next(name for name, part in units if part in asked)
        assert panel["fieldConfig"]["defaults"]["unit"] == expected, panel["title"]


def test_dashboard_has_every_exit_code():
    """Each code has its words and a colour in the panel of the last runs."""
    (panel,) = (panel for panel in DASHBOARD["panels"] if "exit_code" in str(panel["targets"]))
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert sorted(map(int, mapping["options"])) == sorted(ExitCode)
