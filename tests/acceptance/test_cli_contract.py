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
SAFETY_RECORD = {
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
    "nested": {"id": "2", "privacyType": "Block"},
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


@pytest.mark.promise("8")
def test_learn(standin: Standin, tmp_path: Path, sqlite_url: str):
    """Renamed fields, an envelope and pages by token: proposed, and a sync reads it all.

    What is shown are names, also of a refusal; identifiers and values are not, even as names.
    """
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
    worker = standin.install(tmp_path, sqlite_url)
    lines = "\n".join(standin.people)
    texts = {"contract learn --json --out p.toml": lines, "contract learn ": ""}
    text, ended, unasked = calls(worker, ("contract learn", lines), *texts.items())
    assert (text.code, ended.code, unasked.code) == (0, 0, 2), text.err
    assert "or has only a header\n  → one synthetic identifier a line: `pts-" in unasked.err
    shown = text.out + text.err + ended.out + ended.err + (tmp_path / "p.toml").read_text()
    assert not any(one in shown for one in (*standin.people, "SECRET-VALUE", *standin.tokens))
    assert "status 400: 3 in JSON with errors.offId[], title" in text.out
    fields = {one["field"]: one for one in ended.document["areas"]["patient-safety"]["fields"]}
    assert fields["result.hits[].freeText"]["becomes"] == "candidate for extra"
    assert fields["result.hits[].Confidentiality_Code"]["becomes"] == "confidentiality_code"
    assert fields["result.hits[].Id"]["records"] == 6
    assert re.search(r"\ncause = \[.*\]  # not seen\n", text.out)
    assert fields["hasMore"]["becomes"] == "not declared, so refused"
    area = read_contract((tmp_path / "p.toml").read_text())["patient-safety"]
    assert area.paging == TokenPaging(style="token", field="cursor", send_as="cursor")
    made = (tmp_path / "p.toml").read_text().replace("ignore = []", 'ignore = ["hasMore"]', 1)
    (tmp_path / "p.toml").write_text(made)
    worker.configure(api={"contract_file": "p.toml"}, sync={"areas": ["patient-safety"]})
    assert worker.sync().code == 0
    assert worker.store.one("SELECT count(*) FROM report_patient_safety_current") == 9
    standin.everybody = lambda _ask: http({"title": "x"}, status="404 Not Found")
    (ended,) = calls(worker, ("contract learn --out q.toml", lines))
    assert (ended.code, "[patient-safety]" in ended.out) == (65, False)
    assert not (tmp_path / "q.toml").exists()
    assert f'refused POST {next(iter(PATHS))} with {{offId = "{{off_id}}"}}: check' in ended.out


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
    own = default_contract_text().replace("empty_status = []", "empty_status = [404]", 1)
    own = own.replace("body = {offId =", "body = {who =", 1)
    own = own.replace('paging = "none"', 'paging = {style = "offset", send_as = "skip"}', 1)
    own = own.replace("/v0.5/access-restrictions/patient-safety/_search", "/odd")
    (worker.folder / "odd.toml").write_text(own)
    (ended,) = calls(worker, "contract from-openapi odd.json --set api.contract_file=odd.toml")
    assert ended.code == 0, ended.err
    assert OFF_ID not in ended.out + ended.err
    made = read_contract(ended.out)["patient-safety"]
    known = load_contract(None)["patient-safety"]
    assert (made.records, made.columns, made.empty_status) == ("", known.columns, (404,))
    assert 'body = {who = "{off_id}"}\n' in ended.out
    assert "no name that can be shown" in ended.out
    assert "patient-safety: query: 'cursor' is not sent unless" in ended.out
    assert re.search("'(skip|who)' is not sent", ended.out) is None


def test_what_cannot_be_made(worker: Installation):
    """A document of another kind, references without or nearly without end, two lists: refused."""
    path = "/v1/patient-safety/_search"
    objects = {"type": "array", "items": {"properties": {"id": {"type": "string"}}}}
    lists = {"properties": {"current": objects, "former": objects}}
    loop, first = {"$ref": "#/components/schemas/a"}, {"$ref": "#/components/schemas/0"}
    often = {f"{n}": {"allOf": [{"$ref": f"#/components/schemas/{n + 1}"}] * 30} for n in range(6)}
    wide = {"items": {"properties": {f"{n}": {"type": "string"} for n in range(3_000)}}}
    far = {"$ref": "https://example.invalid/x.json"}
    deep = {
        f"deep{n}": {"allOf": [{"$ref": f"#/components/schemas/deep{n + 1}"}]} for n in range(2000)
    }
    schemas = {"two": lists, "loop": loop, "often": first, "far": far, "wide": wide}
    schemas["deep"] = {"$ref": "#/components/schemas/deep0"}
    cases = {"not json": b"openapi: 3.0.0", "other": b"{}", "no": b'{"openapi": "3.0.0"}'}
    for name, schema in schemas.items():
        answer = {"200": {"content": {"application/json": {"schema": schema}}}}
        document = {
            "openapi": "3.0.0",
            "paths": {path: {"post": {"responses": answer}}},
            "components": {"schemas": {"a": loop, **often, "6": {}, **deep}},
        }
        cases[name] = json.dumps(document).encode()
    for name, content in cases.items():
        (worker.folder / f"{name[:3]}.json").write_bytes(content)
    ends = calls(
        worker, *(f"contract from-openapi {worker.folder}/{name[:3]}.json" for name in cases)
    )
    found = dict(zip(cases, ends, strict=True))
    assert {one.code for one in ends} == {65}, [one.err for one in ends]
    assert "current and former" in found["two"].out
    assert "convert YAML first" in found["not json"].err
    assert "another document" in found["far"].err
    assert "fields with more than 2,000 names" in found["wide"].err
    assert "nested too deeply" in found["deep"].err
    assert "nor a path of patient-privacy that ends with _search: set `path` in" in found["no"].out


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
