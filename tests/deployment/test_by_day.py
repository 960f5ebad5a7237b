"""What promtool and kustomize judge at night, in part by day: an error costs a night or more."""

import re

import yaml

from tests.support.deployment.deployed import FOR_A_PERSON, ROOT
from worker.errors import ExitCode

RULES = ROOT / "config" / "prometheus" / "pts-worker.rules.yml"
EVERY_RUN = ROOT / "config" / "kubernetes" / "base" / "every-run.yaml"


def test_an_alert_names_each_exit_code_that_needs_attention():
    """77 as well as 5 and 69; no code has two alerts, and one that repeats itself has none."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    codes = [
        int(code)
        for rule in group["rules"]
        for code in re.findall(r"exit_code == (\d+)", str(rule["expr"]))
    ]
    assert sorted(codes) == sorted({*FOR_A_PERSON, ExitCode.UNAVAILABLE})


def test_an_alert_of_prometheus_names_a_command():
    """The first command stands in each description."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    texts = [rule["annotations"]["description"] for rule in group["rules"]]
    assert [text for text in texts if not re.search(r"pts-worker (status|doctor|fail)", text)] == []


def test_a_job_outlasts_an_outage():
    """Its pods end by the deadline of the Job, and not by their number: 10 s, 20 s, … 6 min."""
    job = yaml.safe_load(EVERY_RUN.read_text())["spec"]["jobTemplate"]["spec"]
    pauses = [min(10 * 2**number, 360) for number in range(job["backoffLimit"])]
    assert sum(pauses) > job["activeDeadlineSeconds"]
