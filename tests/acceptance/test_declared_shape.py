"""What an answer holds around its records is declared, or nothing is concluded from it."""

import tomllib
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.acceptance.two_worlds import settled
from tests.support.program import REQUEST_TIMEOUT_S, Installation, wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import SAFETY, Ask, Standin, persons, ref_of
from worker.config.contract_file import default_contract_text

pytestmark = pytest.mark.promise("1")

PERSONS = 30
RECORDS = 3
AREAS = ("patient_safety", "patient_privacy")
ALONE: list[tuple[dict[str, Any], str]] = [
    ({"page": {"number": 0}}, "page.number"),
    ({"zzz": None}, "zzz"),
]


def filled(standin: Standin, folder: Path, url: str, **sync: Any) -> Installation:
    """A worker of persons with three restrictions in either area."""
    persons(standin, range(PERSONS), safeties=RECORDS, privacies=RECORDS)
    return standin.install(folder, url, **sync)


def enveloped(worker: Installation) -> None:
    """Declare that both areas' answers are objects with the list in ``items``."""
    text = default_contract_text().replace('records = ""', 'records = "items"')
    text = text.replace(
        'id = "id"\nperson = ["patientPrivacy',
        'id = "id"\nrecords = "items"\nperson = ["patientPrivacy',
    )
    assert [area["records"] for area in tomllib.loads(text).values()] == ["items", "items"]
    (worker.folder / "pts.toml").write_text(text, encoding="utf-8")
    worker.configure(api={"contract_file": "pts.toml"})


def wrapped(**around: Any):
    """Answer with the records in an object, and this around them."""
    return lambda ask: http({"items": ask.records, **around})


def test_an_undeclared_field_around_everybodys_records(standin, tmp_path, database_url):
    """A number of a page alone, or a field of any name: 65 at once, and no record is lost."""
    worker = filled(standin, tmp_path, database_url)
    enveloped(worker)
    standin.everybody = wrapped()
    assert worker.sync().code == 0
    before = worker.store.current()
    for around, field in ALONE:
        asked = len(standin.asked)
        standin.everybody = wrapped(**around)
        ended = worker.sync()
        assert (ended.code, worker.store.current()) == (65, before), ended.err[-2000:]
        assert f"(at {field})" in ended.err
        assert "pts-worker contract learn" in ended.err
        assert len(standin.asked) - asked <= 100


def test_an_undeclared_field_around_some_persons_records(standin, tmp_path, database_url):
    """They keep their state, the others are published, and the field is named.

    Also if only the start that continues a killed run asks for them, and nobody else.
    """
    worker = filled(standin, tmp_path, database_url)
    enveloped(worker)
    standin.everybody = wrapped()
    assert worker.sync().code == 0
    before = worker.store.ids()
    some = list(standin.people)[5:8]
    standin.script = {(off_id, ""): lambda _: Reply(data=b"", before_s=600.0) for off_id in some}
    worker.constants[REQUEST_TIMEOUT_S] = 120.0
    running = worker.start("sync")
    wait_for(lambda: len(settled(worker)) == 2 * (PERSONS - len(some)), "all others")
    worker.kill(running)
    for off_id in some:
        standin.script[off_id, ""] = lambda ask: http({"items": ask.records[:1], "next": "x"})
    ended = worker.sync()
    assert ended.run["continued"] is True
    assert (ended.code, worker.store.ids()) == (3, before), ended.err[-2000:]
    assert worker.store.stale() == {ref_of(off_id) for off_id in some}
    assert any("(at next)" in reason for reason in ended.run["reasons"])
    listed = worker.run("failures", "list", "--json").document["failures"]
    assert {one["kind"] for one in listed} == {"contract"}
    assert all("(at next)" in one["reason"] for one in listed)


CODES = ("confidentialityCode", "privacyType")
RENAMED = {
    "one, first night": (CODES[:1], True, 5),
    "one, later": (CODES[:1], False, 3),
    "both, first night": (CODES, True, 65),
    "both, later": (CODES, False, 65),
    "both, changes confirmed": (CODES, False, 65),
}
"""Which codes have another name, whether nothing is published yet, and the exit code."""


@pytest.mark.promise("5")
@pytest.mark.parametrize("case", RENAMED)
def test_a_renamed_code(standin, tmp_path, database_url, case):
    """No code is lost: every record without one is a failure; of one area, that area stands."""
    renamed, is_first, code = RENAMED[case]
    confirm = "changes" if "changes" in case else "removals"
    worker = filled(standin, tmp_path, database_url, first_min_completeness=0.95, confirm=confirm)
    assert is_first or worker.sync().code == 0

    def state():
        return {row[:3] for area in AREAS for row in worker.store.current(area)}

    before = state()
    for areas in standin.people.values():
        for record in chain(*areas.values()):
            record.update({f"{name}New": record.pop(name) for name in renamed if name in record})
    ended = worker.sync()
    assert (ended.code, state()) == (code, before), ended.story()
    assert "which the contract requires" in ended.err


@pytest.mark.promise("5")
def test_a_value_that_everybody_loses(standin, tmp_path, database_url):
    """What the contract does not require may be missing; of everybody at once it is withheld."""
    worker = filled(standin, tmp_path, database_url)
    records = [record for areas in standin.people.values() for record in areas[SAFETY]]
    for record in records:
        record["delayDays"] = 7
    assert worker.sync().code == 0
    before = worker.store.current()
    for record in records:
        del record["delayDays"]
    ended = worker.sync()
    assert (ended.code, worker.store.current()) == (5, before), ended.story()
    assert "90 of 180 open restrictions of 30 persons would lose a value" in ended.run["reasons"][0]
    (area,) = worker.run("status").document["withheld"]["areas"]
    assert (area["removed"], area["lost"], len(area["examples"])) == (0, 90, 5)


@pytest.mark.promise("9")
def test_a_new_field_is_said_once(standin, tmp_path, database_url):
    """In the summary, the log, `status` and a metric: its name, and never what it holds."""
    worker = filled(standin, tmp_path, database_url)
    worker.configure(telemetry={"textfile": "pts.prom"})
    said, metrics = [], []
    for extra in ({}, {"hemmelig": "hemmelig-ord"}, {"hemmelig": "hemmelig-ord"}):
        for records in standin.people[next(iter(standin.people))].values():
            records[0].update(extra)
        ended = worker.sync()
        assert ended.code == 0, ended.err[-2000:]
        said.append(ended)
        metrics += (worker.folder / "pts.prom").read_text().splitlines()
    fields = ["patient-privacy hemmelig", "patient-safety hemmelig"]
    words = f"new undeclared fields: {', '.join(fields)}. They are not stored"
    assert [any(words in reason for reason in one.run["reasons"]) for one in said] == [
        False,
        True,
        False,
    ]
    status = worker.run("status")
    assert words in status.out
    name = 'pts_worker_new_undeclared_fields{run="sync"} '
    assert [line.removeprefix(name) for line in metrics if line.startswith(name)] == [
        "0.0",
        "2.0",
        "0.0",
    ]
    texts = [status.out, *metrics, *(one.out + one.err for one in said)]
    assert "hemmelig-ord" not in " ".join(texts)
    rows = worker.store.rows("SELECT area, field, records FROM report_drift ORDER BY area")
    assert rows == [("patient-privacy", "hemmelig", 1), ("patient-safety", "hemmelig", 1)]


@pytest.mark.promise("6")
def test_maintenance_at_the_start_of_a_night(standin, tmp_path, sqlite_url):
    """A page of HTML for everybody costs the wait until PTS is asked again, and nobody."""
    worker = filled(standin, tmp_path, sqlite_url)
    assert worker.sync().code == 0
    before = worker.store.current()
    worker.configure(sync={"patience": "30s"})
    standin.heard.clear()

    def maintained(ask: Ask) -> Reply:
        moments = [heard.at_s for heard in standin.heard]
        has_waited = any(later - sooner > 1.0 for sooner, later in pairwise(moments))
        return http(ask.records) if has_waited else http(b"<html>", kind="text/html")

    standin.everybody = maintained
    ended = worker.sync()
    assert (ended.code, worker.store.current()) == (0, before), ended.story()
    assert len({event["area"] for event in ended.events("breaker.closed")}) == len(AREAS)
