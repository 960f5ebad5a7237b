"""``contract``: what is in force, and contracts made of a description or of live answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.contracts import SHAPES, as_toml
from tests.support.program import Installation, calls, sandbox
from tests.support.raw_server import Reply, http
from tests.support.standin import PATHS, PRIVACY, SAFETY, Ask, Standin
from tests.support.standin import person as add_person
from worker.config.contract_file import default_contract_text, load_contract, read_contract
from worker.core.contract import TokenPaging

DOCUMENTS = Path(__file__).parents[1] / "support/openapi"
OFF_ID = "16858399649"
SAFETY_RECORD: dict[str, dict[str, Any]] = {
    "bare": {"id": "1", "confidentialityCode": "NORU", "delayDays": 3, "system": {"name": "x"}},
    "envelope": {
        "Id": "1",
        "off_id": OFF_ID,
        "confidentiality_code": "NORU",
        "modified_time": None,
        "parent": None,
        "created_by": {"role": "LE", "organisation_number": "9"},
    },
    "nested": {
        "id": "1",
        "patientSafetyObject": {
            "person": {"offId": OFF_ID},
            "confidentialObjectId": {"type": "Rekvisisjon", "value": "r1"},
        },
        "parentConfidentialObjectId": None,
        "accessRestriction": [
            {"isCurrent": False, "confidentialityCode": "N", "delayDays": None},
            {"isCurrent": True, "confidentialityCode": "NORU", "delayDays": 3},
        ],
        "parent": None,
    },
}
PRIVACY_RECORD = {
    "bare": {"id": "2", "privacyType": "Block", "timeRanges": [{"from": "2026-01-01T00:00:00Z"}]},
    "envelope": {"Id": "2", "off_id": OFF_ID, "privacy_type": "Block", "object_scope": None},
    "nested": {
        "id": "2",
        "privacyType": "Block",
        "patientPrivacyObject": {"person": {"offId": OFF_ID}},
    },
}
EXPECTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bare": (
        {"delay_days": 3},
        {
            "restricted_from": "2026-01-01T00:00:00.000000+00:00",
            "time_ranges": '[{"from":"2026-01-01T00:00:00Z"}]',
        },
    ),
    "envelope": ({"created_by": '{"organisation":"9","role":"LE"}'}, {}),
    "nested": ({"delay_days": 3, "object_type": "Rekvisisjon", "object_value": "r1"}, {}),
}
"""Of either area, besides the code that all of them have."""
AROUND: dict[str, Any] = {"isSuccess": True, "traceId": None, "Warnings": []}
ANSWERS: dict[str, Any] = {
    "bare": lambda records: records,
    "envelope": lambda records: {"items": records, **AROUND, "totalCount": len(records)},
    "nested": lambda records: {"next": None, "data": {_list_of(records): records}},
}


def _list_of(records: list[dict[str, Any]]) -> str:
    return "list" if "privacyType" in records[0] else "confidentialAttributes"


PLACES: dict[str, dict[str, str]] = {
    "bare": PATHS,
    "envelope": {
        "/api/v2/PatientSafety/_search": SAFETY,
        "/api/v2/PatientPrivacy/_search": PRIVACY,
    },
    "nested": {f"/pts/{area}/_search": area for area in (SAFETY, PRIVACY)},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_document_leads_to_a_sync(standin: Standin, tmp_path: Path, sqlite_url: str, name: str):
    """Every field of both areas' records is where it belongs, wherever they are asked for.

    Only what says nothing around them is declared by hand.
    """
    standin.paths = PLACES[name]
    standin.people = {OFF_ID: {}}
    samples = {SAFETY: SAFETY_RECORD[name], PRIVACY: PRIVACY_RECORD[name]}
    standin.everybody = lambda ask: http(ANSWERS[name]([samples[ask.area]]))
    worker = standin.install(tmp_path, sqlite_url)
    out = tmp_path / "made.toml"
    again, ended, shown = calls(
        worker,
        f"contract from-openapi {DOCUMENTS / name}.json",
        f"contract from-openapi {DOCUMENTS / name}.json --out {out} --json",
        f"contract from-openapi {DOCUMENTS / name}.json --out {out}",
    )
    assert (again.code, ended.code, shown.code) == (0, 0, 78), shown.err
    assert "already exists" in shown.err
    assert out.stat().st_mode & 0o777 == 0o600
    assert read_contract(again.out) == read_contract(out.read_text(encoding="utf-8"))
    assert "\n# in force: " in again.out
    assert "  # proposal\n" in again.out
    if name == "envelope":
        out.write_text(out.read_text().replace("ignore = []", 'ignore = ["traceId", "Warnings"]'))
    worker.configure(api={"contract_file": "made.toml"})
    synced = worker.sync()
    assert synced.code == 0, synced.err[-2000:]
    safety, privacy = EXPECTED[name]
    for table, expected in (
        ("patient_safety", {"confidentiality_code": "NORU", **safety}),
        ("patient_privacy", {"privacy_type": "Block", **privacy}),
    ):
        found = worker.store.rows(f"SELECT {', '.join(expected)} FROM report_{table}_current")
        assert found == [(*expected.values(),)]


@pytest.fixture
def unlike(standin: Standin) -> Standin:
    """Renamed fields, an envelope and pages by token; of patient privacy, refusals."""
    for number in range(3):
        add_person(standin, number, safeties=3, privacies=1)

    def answered(ask: Ask) -> Reply:
        names = {"id": "Id", "confidentialityCode": "Confidentiality_Code", "privacyType": "type"}
        names["createdTime"] = "created_time"
        records = [{names[k]: v for k, v in one.items() if k in names} for one in ask.records]
        for one in records:
            one |= {ask.off_id: "SECRET-VALUE", "freeText": "SECRET-VALUE"}
        start = int(str(ask.fields.get("cursor", "SECRET-VALUE-0")).rpartition("-")[2])
        more = f"SECRET-VALUE-{start + 2}" if records[start + 2 :] else None
        page = records[start : start + 2]
        if ask.area == "patient-privacy":
            problem = {"title": "SECRET-VALUE", "errors": {"offId": [ask.off_id]}}
            return http(problem, status="400 Bad Request", kind="application/problem+json")
        return http({"result": {"hits": page}, "cursor": more, "hasMore": more is not None})

    standin.everybody = answered
    return standin


@pytest.mark.promise("8")
def test_learn(unlike: Standin, tmp_path: Path, sqlite_url: str):
    """It shows names, also of a refusal; identifiers and values are not shown, even as names."""
    worker, lines = unlike.install(tmp_path, sqlite_url), "\n".join(unlike.people)
    texts = {"contract learn --json --out p.toml": lines, "contract learn ": ""}
    text, ended, unasked = calls(worker, ("contract learn", lines), *texts.items())
    assert (text.code, ended.code, unasked.code) == (65, 65, 2), text.err
    assert "nothing is proposed for patient-privacy" in text.err
    assert "or has only a header\n  → one synthetic identifier per line: `pts-" in unasked.err
    shown = text.out + text.err + ended.out + ended.err + (tmp_path / "p.toml").read_text()
    assert not any(one in shown for one in (*unlike.people, "SECRET-VALUE", *unlike.tokens))
    assert "status 400: 3 with errors.offId[], title" in text.out
    fields = {one["field"]: one for one in ended.document["areas"]["patient-safety"]["fields"]}
    assert fields["result.hits[].freeText"]["kinds"] == "string"
    assert '# freetext = "freeText"\n' in text.out
    assert fields["result.hits[].Id"]["occurrences"] == 6
    assert re.search("# patient-safety: in no answer: .*cause, ", text.out)
    assert re.search(
        r"\n# TODO \d: an answer with hasMore is refused: .*\nignore = \[\]\n", text.out
    )
    question = "Can hasMore mean that records are missing, or follow?"
    assert question in text.out
    assert f"patient-safety: {question}" in ended.document["questions"]
    assert [todo["key"] for todo in ended.document["todos"]].count("ignore") == 1
    assert fields["hasMore"]["occurrences"] == 3
    unlike.everybody = lambda _ask: http({"title": "x"}, status="404 Not Found")
    (ended,) = calls(worker, ("contract learn --out q.toml", lines))
    assert (ended.code, "[patient-safety]" in ended.out) == (65, False)
    assert not (tmp_path / "q.toml").exists()
    assert (
        f'every request is refused: POST {next(iter(PATHS))} with {{offId = "{{off_id}}"}}; check'
        in ended.out
    )


def test_what_was_learned_leads_to_a_sync(unlike: Standin, tmp_path: Path, sqlite_url: str):
    """After one edit, at an open point."""
    worker, lines = unlike.install(tmp_path, sqlite_url), "\n".join(unlike.people)
    calls(worker, ("contract learn --out p.toml", lines))
    area = read_contract((tmp_path / "p.toml").read_text())["patient-safety"]
    assert area.paging == TokenPaging(style="token", field="cursor", send_as="cursor")
    made = (tmp_path / "p.toml").read_text().replace("ignore = []", 'ignore = ["hasMore"]', 1)
    (tmp_path / "p.toml").write_text(made)
    worker.configure(api={"contract_file": "p.toml"}, sync={"areas": ["patient-safety"]})
    assert worker.sync().code == 0
    assert worker.store.one("SELECT count(*) FROM report_patient_safety_current") == 9


@pytest.mark.promise("1")
def test_learn_refuses_the_answers_that_doctor_refuses(
    standin: Standin, tmp_path: Path, sqlite_url: str
):
    """A time without an offset, and a page that was not requested: open points with a remedy."""
    standin.people = {OFF_ID: {}}
    privacy = dict(SAFETY_RECORD["bare"], privacyType="Block")
    standin.everybody = lambda ask: http(
        [{**SAFETY_RECORD["bare"], "createdTime": "2026-01-01T00:00:00"}]
        if ask.area == SAFETY
        else {"items": [privacy], "page": 0, "totalPages": 1}
    )
    contract_text = default_contract_text().replace('person = ["patient', 'person = [] # ["patient')
    head, area, tail = contract_text.partition("[patient-privacy]\n")
    paging = 'paging = {style = "page", send_as = "p", field = "page", pages = "totalPages"}'
    (tmp_path / "own.toml").write_text(f'{head}{area}records = "items"\n{paging}\n{tail}')
    worker = standin.install(tmp_path, sqlite_url)
    worker.configure(api={"contract_file": "own.toml"})
    learned, probed = calls(
        worker, ("contract learn --json", OFF_ID), ("doctor --probe --person -", OFF_ID)
    )
    points = {(todo["area"], todo["key"]): todo["text"] for todo in learned.document["todos"]}
    assert points[SAFETY, "naive_times"] == (
        "1 person cannot be read: source_created_at: a time without an offset; declare "
        "`naive_times` in the contract (at [])"
    )
    assert "1 was requested, but another page was returned" in points[PRIVACY, "paging"]
    assert probed.code == 65
    standin.everybody = lambda _ask: http([privacy], status="201 Created")
    (learned,) = calls(worker, ("contract learn --json", OFF_ID))
    assert learned.code == 65
    assert {todo["text"] for todo in learned.document["todos"]} == {
        "PTS answers 201, and only 200 is read: ask NHN for status 200"
    }


def test_names_of_others_are_names(worker: Installation):
    """A line break in one makes no line of the contract; what looks like no name is not shown."""
    kind, odd = {"type": "string"}, ['x"\nrecords = "y', OFF_ID, "a b", "ø[0]"]
    fields = dict.fromkeys(("id", "confidentialityCode", *odd), kind)
    answer = {"type": "array", "items": {"type": "object", "properties": fields}}
    operation = {
        "parameters": [{"name": name, "in": "query"} for name in (odd[0], "cursor", "skip")],
        "requestBody": {"content": {"json": {"schema": {"properties": {odd[0]: {}, "who": kind}}}}},
        "responses": {"200": {"content": {"application/json": {"schema": answer}}}, "404": {}},
    }
    document = {"openapi": "3.0.0", "paths": {"/odd": {"post": operation}}}
    (worker.folder / "odd.json").write_text(json.dumps(document))
    odd_contract = default_contract_text().replace("empty_status = []", "empty_status = [404]", 1)
    odd_contract = odd_contract.replace("body = {offId =", "body = {who =", 1)
    odd_contract = odd_contract.replace(
        'paging = "none"', 'paging = {style = "offset", send_as = "skip"}', 1
    )
    odd_contract = odd_contract.replace("/v0.5/access-restrictions/patient-safety/_search", "/odd")
    (worker.folder / "odd.toml").write_text(odd_contract)
    worker.configure(api={"contract_file": "odd.toml"}, sync={"areas": ["patient-safety"]})
    (ended,) = calls(worker, "contract from-openapi odd.json")
    assert ended.code == 0, ended.err
    assert OFF_ID not in ended.out + ended.err
    made = read_contract(ended.out)["patient-safety"]
    known = load_contract(None)["patient-safety"]
    columns = {"confidentiality_code": known.columns["confidentiality_code"]}
    assert (made.records, made.columns, made.empty_status) == ("", columns, (404,))
    assert 'body = {who = "{off_id}"}\n' in ended.out
    assert re.search("patient-safety: query: optional, not sent: .*cursor\n", ended.out)
    assert re.search("not sent: .*(skip|who)", ended.out) is None


def test_what_cannot_be_made(worker: Installation):
    """References without or nearly without end, another document, two lists: open points.

    The other area is proposed all the same, and the file holds the contract in force for this one.
    """
    path, other = "/v1/patient-safety/_search", "/v1/patient-privacy/_search"
    objects = {"type": "array", "items": {"properties": {"id": {"type": "string"}}}}
    lists = {"properties": {"current": objects, "former": objects}}
    loop, first = {"$ref": "#/components/schemas/a"}, {"$ref": "#/components/schemas/0"}
    often = {
        f"{n}": {
            "properties": {f"{k}": {"$ref": f"#/components/schemas/{n + 1}"} for k in range(30)}
        }
        for n in range(6)
    }
    far = {"$ref": "https://example.invalid/x.json"}
    schemas = {"two": lists, "loop": loop, "often": first, "far": far}
    for name, schema in schemas.items():
        posts = {
            place: {"post": {"responses": {"200": {"content": {"text/json": {"schema": one}}}}}}
            for place, one in ((path, schema), (other, objects))
        }
        document = {
            "openapi": "3.0.0",
            "paths": posts,
            "components": {"schemas": {"a": loop, **often, "6": {}}},
        }
        (worker.folder / f"{name}.json").write_text(json.dumps(document))
    ends = calls(
        worker, *(f"contract from-openapi {name}.json --out {name}.toml" for name in schemas)
    )
    found = dict(zip(schemas, ends, strict=True))
    assert {one.code for one in ends} == {65}, [one.err for one in ends]
    assert {one.err for one in ends} == {"pts-worker: nothing is proposed for patient-safety\n"}
    assert "in the document: current and former" in found["two"].out
    assert "another document" in found["far"].out
    assert f"{path} cannot be read: more than 20,000 schemas" in found["often"].out
    made = read_contract((worker.folder / "far.toml").read_text())
    known = load_contract(None)
    assert made["patient-safety"] == known["patient-safety"]
    assert made["patient-privacy"].path == other
    (worker.folder / "none.yaml").write_text("openapi: 3.0.0\npaths: {/other/_search: {post: {}}}")
    none, wrong, chosen = calls(
        worker,
        "contract from-openapi none.yaml --out none.toml",
        "contract from-openapi none.yaml --safety /no",
        f"contract from-openapi far.json --safety {other} --privacy {other}/ --json",
    )
    assert (none.code, wrong.code, chosen.code) == (65, 2, 0), chosen.err
    assert "patient-safety   POST /other/_search" in none.out
    assert "use --privacy PATH" in none.out
    assert not (worker.folder / "none.toml").exists()
    assert "no operation /no\n  → its paths are /oth" in wrong.err
    paths = {name: area["path"] for name, area in chosen.document["contract"].items()}
    assert paths == {"patient-safety": other, "patient-privacy": other}


def test_a_sandbox_in_another_shape(tmp_path: Path, sqlite_url: str) -> None:
    """`sandbox --contract` answers by it, and its configuration reads by it."""
    file = tmp_path / "pts.toml"
    file.write_text(as_toml(SHAPES["unlike"]), encoding="utf-8")
    with sandbox(tmp_path / "served", "--persons", "30", "--contract", str(file)) as served:
        worker = served.install(tmp_path / "worker", sqlite_url)
        assert worker.settings["api"]["contract_file"] == str(file)
        ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert worker.store.ids()
