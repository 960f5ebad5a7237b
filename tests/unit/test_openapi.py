"""What OpenAPI documents suggest: each of these was written by hand, as others write them."""

import json
from typing import Any

import pytest

from tests.support.pts_answers import CONTRACT, SAFETY, contract
from worker.cli.openapi import OpenApi, Operation
from worker.cli.proposal import Proposal
from worker.cli.toml_text import contract_toml
from worker.core.contract import AreaContract
from worker.errors import DataContractError

KNOWN = CONTRACT["patient-safety"]
RECORD = """
          id: {type: string, format: uuid}
          confidentialityCode: {type: string}
          patientSafetyObject: {properties: {person: {properties: {offId: {type: string}}}}}
"""
OPERATION = """
openapi: 3.0.1
paths:
  /v0.5/access-restrictions/patient-safety/_search:
    post:
      PARAMETERS
      requestBody:
        content: {application/json: {schema: {properties: {offId: {type: string}, BODY}}}}
      responses:
        200:
          HEADERS
          content: {application/json: {schema: {$ref: "#/components/schemas/Answer"}}}
components:
  schemas:
    Record:
      properties:
        id: {type: string, format: uuid}
        confidentialityCode: {$ref: "#/components/schemas/Code"}
        patientSafetyObject: {properties: {person: {properties: {offId: {type: string}}}}}
        RECORD
    Records: {type: array, items: {$ref: "#/components/schemas/Record"}}
    Code: {CODE}
    Answer: {ANSWER}
"""
"""One operation. ``document`` fills in its parts."""


def document(
    *,
    parameters: str = "",
    body: str = "",
    headers: str = "",
    code: str = "type: string",
    record: str = "",
    answer: str = '$ref: "#/components/schemas/Records"',
) -> str:
    around = answer if "Records" in answer else f"properties: {{{answer}, items: {{{_RECORDS}}}}}"
    return (
        OPERATION.replace("PARAMETERS", f"parameters: [{parameters}]")
        .replace("BODY", body)
        .replace("HEADERS", f"headers: {{{headers}}}")
        .replace("        RECORD", "".join(f"        {line}\n" for line in record.splitlines()))
        .replace("CODE", code)
        .replace("ANSWER", around)
    )


_RECORDS = '$ref: "#/components/schemas/Records"'


def read(text: str | bytes, known: AreaContract = KNOWN, base_path: str = "") -> Proposal:
    """The proposal for patient safety, with the likeliest operation."""
    opened = OpenApi(text if isinstance(text, bytes) else text.encode(), base_path)
    candidates = opened.candidates(SAFETY, known)
    chosen = next((one for one in candidates if one.is_likely), None)
    return opened.proposal(SAFETY, known, candidates, chosen)


def notes(proposal: Proposal, key: str) -> str:
    return "\n".join(note.text for note in proposal.notes if note.key == key)


def operations(*lines: str, more: str = "") -> list[Operation]:
    """The candidates of a document with these operations, as ``METHOD /path``, in their order."""
    paths: dict[str, Any] = {}
    for line in lines:
        method, path = line.split()
        paths.setdefault(path, {})[method.lower().rstrip("!")] = {"deprecated": method[-1] == "!"}
    text = json.dumps({"openapi": "3.1.0", "paths": paths, **json.loads(more or "{}")})
    return OpenApi(text.encode()).candidates(SAFETY, KNOWN)


def test_a_bare_list_needs_no_hand():
    """The contract that comes with the program already has it."""
    proposal = read(document())
    assert (proposal.contract is not None, proposal.notes) == (True, [])


def test_page_number_in_the_query():
    """It is sent there, and begins with what the document declares."""
    page = "{in: query, name: pageNumber, schema: {type: integer, default: 0}}"
    size = "{in: query, name: pageSize, schema: {type: integer}}"
    answer = "pageNumber: {type: integer}, totalPages: {type: integer}"
    made = read(document(parameters=f"{page}, {size}", answer=answer))
    expected = {"style": "page", "send_as": "pageNumber", "send_in": "query", "first": 0}
    assert made.table["paging"].items() >= expected.items()
    assert made.facts == ["query: optional, not sent: pageSize"]
    bare = read(document(parameters=page))
    assert bare.table["paging"].items() >= expected.items()
    only_size = read(document(parameters=size))
    assert only_size.table["paging"] is None
    assert "pageSize" in notes(only_size, "paging")
    unsent = read(document(answer=answer))
    assert unsent.table["paging"]["send_as"] == "pageNumber"
    assert "'pageNumber' is a guess" in notes(unsent, "paging")


@pytest.mark.parametrize("style", ["", "style: deepObject, "])
def test_an_object_in_the_query(style: str):
    """By default its fields are sent, as `pageable` of springdoc. Pages begin with its minimum."""
    page = "properties: {page: {type: integer, minimum: 0}, size: {type: integer}}"
    pageable = f"{{in: query, name: pageable, required: true, {style}schema: {{{page}}}}}"
    answer = "number: {type: integer}, pageable: {properties: {pageNumber: {type: integer}}}"
    made = read(document(parameters=pageable, answer=answer))
    sending = {"style": "page", "send_as": "page", "send_in": "query", "first": 0}
    is_exploded = made.table["paging"].items() >= {**sending, "field": "number"}.items()
    assert is_exploded != bool(style)
    assert ("'pageable' is required" in notes(made, "query")) == bool(style)


def test_a_list_or_an_object():
    """Only the list is read, even if the object is that of the list."""
    choice = (
        '{oneOf: [{$ref: "#/components/schemas/Records"}, {$ref: "#/components/schemas/Record"}]}'
    )
    made = read(document(answer=f"properties: {{data: {choice}}}"))
    assert made.table["records"] == "data"
    assert "it is a list or an object, and only a list is read" in notes(made, "records")


def test_a_status_that_is_not_read():
    """NestJS answers a POST with 201."""
    made = read(document().replace("200:", "201:"))
    assert made.contract is None
    assert notes(made, "records").endswith("cannot be read: it answers 201, and only 200 is read")


def test_links_of_json_api():
    """Its next page is a URL, even if the document does not say so."""
    links = "links: {properties: {self: {type: string}, next: {type: [string, 'null']}}}"
    made = read(document(answer=links))
    assert made.table["paging"] == {"style": "next_link", "field": "links.next"}


def test_a_person_by_the_end_of_its_name():
    """A path that ends as a name of the identifier; exact names take precedence."""
    record = "patientOffId: {type: string}"
    text = document(record=record).replace("{offId: {type: string}}}}}", "{who: {}}}}}")
    assert read(text).table["person"] == ["patientOffId"]
    exact = read(document(record=record)).table["person"]
    assert exact == ["patientSafetyObject.person.offId"]


def test_a_field_without_a_type():
    """A cycle of references, or an object, may be no value of a column."""
    cycle = document().replace("Code: {type: string}", 'Code: {$ref: "#/components/schemas/Code"}')
    for made in (read(cycle), read(document(code="type: object"))):
        assert "has no simple type for confidentialityCode" in notes(made, "columns")


def test_values_that_no_report_names():
    """Texts of a column without known codes are stored as sent. Those of reports are respelt."""
    record = "objectType: {enum: [REKVISISJON]}\nparentObjectType: {enum: [ANNET]}"
    made = read(document(record=record))
    assert made.table["values"] == {"object_type": {"REKVISISJON": "Rekvisisjon"}}
    assert notes(made, "values") == "reports have no name or group for the parent_object_type ANNET"


def test_a_second_list_of_objects():
    """The declared list counts; else the one that has the names of a restriction."""
    errors = "errors: {type: array, items: {properties: {code: {}, message: {type: string}}}}"
    made = read(document(answer=errors))
    assert (made.table["records"], made.table["ignore"]) == ("items", [])
    assert "an answer with errors is refused" in notes(made, "ignore")
    both = document(answer=f"properties: {{items: {{{_RECORDS}}}, former: {{{_RECORDS}}}}}")
    undecided = read(both)
    assert undecided.contract is None
    assert "in the document: items and former" in notes(undecided, "records")
    assert read(both, contract(records="Former")).table["records"] == "former"


@pytest.mark.parametrize(
    "number",
    ['{type: [integer, string], pattern: "^-?[0-9]+$", format: int32}', "{format: int32}"],
)
def test_numbers_of_dotnet_10(number: str):
    """`["integer", "string"]`, or a format alone, is a number."""
    around = f"page: {number}, totalPages: {number}, totalCount: {number}"
    made = read(document(answer=around, body=f"page: {number}"))
    assert (made.table["paging"]["pages"], made.table["total"]) == ("totalPages", "totalCount")
    assert made.table["paging"]["send_in"] == "body"


def test_the_only_required_field_of_a_request():
    """It takes the identifier if no name does, and a person checks it."""
    text = document().replace(
        "{properties: {offId: {type: string}, }}",
        "{required: [number], properties: {number: {type: string}, mode: {type: string}}}",
    )
    made = read(text)
    assert made.table["body"] == {"number": "{off_id}"}
    expected = "'number' is the only required field: check that it takes the person's identifier"
    assert notes(made, "body") == expected
    two = read(text.replace("required: [number]", "required: [number, mode]"))
    assert "no field in the document takes the person's identifier" in notes(two, "body")


def test_an_object_whose_fields_have_no_names():
    """Only answers name the links of springdoc's HAL, and an object is never ignored."""
    links = "_links: {type: object, additionalProperties: {properties: {href: {type: string}}}}"
    made = read(document(answer=f"{links}, trace: {{type: string}}"))
    first, second = [note for note in made.notes if note.key == "ignore"]
    assert "does not name the fields in _links: only answers do" in first.text
    assert (second.text.partition(" is refused")[0], first.question) == ("an answer with trace", "")


def test_codes_in_the_case_of_dotnet():
    """`NornEpo` is `NORN_EPO`; a name without a group stays as it is."""
    made = read(document(code="type: integer, enum: [0, 1, 2], x-enumNames: [Noru, NornEpo, NoX]"))
    expected = {"0": "NORU", "1": "NORN_EPO", "2": "NoX"}
    assert made.table["values"]["confidentiality_code"] == expected
    assert "no name or group for the confidentiality_code NoX" in notes(made, "values")


@pytest.mark.parametrize(
    "code",
    [
        "type: integer, enum: [0, 1, 7], x-enumNames: [N, Noru, NORN_EPO]",
        "format: int32, enum: [0, 1, 7], x-enum-varnames: [N, noru, NORN_EPO]",
        'type: integer, enum: [0, 1, 7], description: "0 = N\\n1 = NORU\\n7 = NORN_EPO"',
        'type: integer, description: "<i>0</i> - N<br><i>1</i> - noru<br><i>7</i> - NORN_EPO"',
        'type: integer, description: "The code: 0: N, 1: NORU (delayed), 7: NORN_EPO"',
    ],
)
def test_codes_as_numbers(code: str):
    """The names of the document are proposed, in the case of the codes, and are to be checked."""
    made = read(document(code=code))
    expected = {"0": "N", "1": "NORU", "7": "NORN_EPO"}
    assert made.table["values"]["confidentiality_code"] == expected
    assert "confidentiality_code is sent as a number" in notes(made, "values")
    assert made.contract is not None


def test_codes_that_nothing_names():
    """Numbers without names, and names that are not known: open points with a question."""
    made = read(document(code="type: integer, enum: [0, 1]"))
    assert made.table["values"] == {}
    (note,) = [note for note in made.notes if note.key == "values"]
    assert note.text.endswith("In the document: 0, 1")
    assert note.question.startswith("Which values can confidentialityCode have")
    for number in ("format: int32", "type: [integer, string]", "type: [integer, 'null']"):
        assert "is sent as a number" in notes(read(document(code=number)), "values")
    odd = read(document(code="type: string, enum: [NORU, NORN_X, Sperret]"))
    assert "no name or group for the confidentiality_code Sperret" in notes(odd, "values")


def test_examples_are_never_sent():
    """They are hints of an open point; a default, the only value or a new id is sent."""
    made = read(
        document(
            parameters="""
      {in: header, name: nhn-source-system, required: true, example: "MyApplication, v1.337",
       schema: {type: string}},
      {in: header, name: nhn-event-id, schema: {type: string, format: uuid}},
      {in: header, name: api-version, required: true, schema: {enum: ["0.5"]}},
      {in: header, name: Accept-Language, schema: {type: string}},
      {in: header, name: Content-Length, required: true, schema: {type: integer}},
      {in: query, name: view, required: true, schema: {default: 7}},
      {in: query, name: mode, required: true, schema: {enum: [a, b]}}"""
        )
    )
    assert made.table["headers"] == {"nhn-event-id": "{uuid}", "api-version": "0.5"}
    assert made.table["query"] == {"view": "7"}
    assert "'nhn-source-system' is required" in notes(made, "headers")
    assert '"example": "MyApplication, v1.337"' in notes(made, "headers")
    assert '"enum": ["a", "b"]' in notes(made, "query")
    assert made.facts == ["headers: optional, not sent: Accept-Language"]


def test_a_value_in_force_that_the_document_excludes():
    """The document's only value takes its place; another that it allows stands."""
    header = "{in: header, name: api-version, required: true, schema: {enum: [VALUES]}}"
    known = contract(headers={"api-version": "0.4"})
    for values, expected in (("'0.5'", "0.5"), ("'0.4', '0.5'", "0.4")):
        made = read(document(parameters=header.replace("VALUES", values)), known)
        assert made.table["headers"] == {"api-version": expected}


def test_hal_links():
    """Only `next` is the next page; the others are around the records like any field."""
    link = "{properties: {href: {type: string, format: uri}}}"
    made = read(document(answer=f"_links: {{properties: {{next: {link}, last: {link}}}}}"))
    assert made.table["paging"] == {"style": "next_link", "field": "_links.next.href"}
    assert "an answer with _links.last, _links.last.href is refused" in notes(made, "ignore")
    assert (
        read(document(answer=f"_links: {{properties: {{last: {link}}}}}")).table["paging"] is None
    )


def test_an_object_around_the_records():
    """It may be null in an answer, even if the document does not say so."""
    made = read(document(answer="error: {properties: {code: {type: string}}}"))
    assert "an answer with error, error.code is refused" in notes(made, "ignore")


def test_response_headers():
    """`Link` is a style of paging, a count is the total, and another is refused."""
    made = read(document(headers="Link: {}, X-Total-Count: {}, X-Pagination: {}, X-Other: {}"))
    assert made.table["paging"] == {"style": "link"}
    assert made.table["total"] == "header:x-total-count"
    assert "an answer with header:x-pagination is refused" in notes(made, "ignore")


def test_the_path_of_the_server():
    """It begins the contract's path, without that of `api.base_url`. The nearest server counts."""
    server = (
        "servers: [{url: 'https://pts.example/{stage}/api/', variables: {stage: {default: x}}}]"
    )
    text = document().replace("paths:", f"{server}\npaths:", 1)
    path = "/v0.5/access-restrictions/patient-safety/_search"
    assert read(text).table["path"] == f"/x/api{path}"
    assert read(text, base_path="/x").table["path"] == f"/api{path}"
    assert read(text, base_path="/x/api/").table["path"] == path
    assert read(text.replace("https://pts.example", "")).table["path"] == f"/x/api{path}"
    text = text.replace("    post:", "    servers: [{url: /item}]\n    post:")
    assert read(text).table["path"] == f"/item{path}"
    text = text.replace("parameters: []", "servers: [{url: /operation}]")
    assert read(text).table["path"] == f"/operation{path}"


def test_versions_and_deprecation():
    """Of 0.9 and 0.10, 0.10 is newer; a deprecated one comes last, and says so."""
    search = "/access-restrictions/patient-safety/_search"
    lines = [f"POST /v0.{number}{search}" for number in (5, 9, 10)]
    found = operations(*lines, f"POST! /v1{search}", f"POST {search}")
    order = [f"/v0.10{search}", f"/v0.9{search}", f"/v0.5{search}", search, f"/v1{search}"]
    assert [one.path for one in found] == order
    assert found[-1].remark == "deprecated"
    path = "/v0.5/access-restrictions/patient-safety/_search"
    newer = f"  {path.replace('0.5', '1')}: {{$ref: '#/paths/{path.replace('/', '~1')}'}}\n"
    both = read(document().replace("components:", f"{newer}components:"))
    assert both.table["path"] == path.replace("0.5", "1")
    assert notes(both, "path") == f"the document also has POST {path}: check which one to use"
    made = read(document().replace("parameters: []", "deprecated: true"))
    assert notes(made, "path") == "this operation: deprecated"


def test_operations_that_cannot_be_called():
    """Each with its reason: a GET, a path with a parameter, a form."""
    search = "/patient-safety/search"
    form = '{"content": {"application/x-www-form-urlencoded": {}}}'
    text = f'{{"openapi": "3.0.0", "paths": {{"{search}": {{"post": {{"requestBody": {form}}}}}}}}}'
    (made,) = OpenApi(text.encode()).candidates(SAFETY, KNOWN)
    assert made.remark.startswith("no JSON: it takes application/x-www-form-urlencoded,")
    (a, b) = operations(f"GET {search}", f"POST /{{v}}{search}")
    assert ("a GET operation" in a.remark, "a parameter in its path" in b.remark) == (True, True)
    unread = read(text)
    assert unread.contract is None
    assert "cannot call POST /patient-safety/search (no JSON: it takes" in notes(unread, "path")


def test_similar_paths_and_none_that_fits():
    """Another search, PascalCase, a trailing slash; without any, all that could be meant."""
    likely = [
        "/api/PatientSafety/Search",
        "/patient-safety/restrictions/search/",
        "/safety/_search",
    ]
    found = operations(*(f"POST {path}" for path in likely), "POST /patient-safety", "POST /other")
    assert [one.path for one in found if one.is_likely] == likely
    assert [one.path for one in found if not one.is_likely] == ["/patient-safety"]
    others = operations("POST /a/_search", "GET /b", "POST /c")
    assert [one.path for one in others] == ["/a/_search", "/c", "/b"]
    assert not any(one.is_likely for one in others)


def test_an_employees_name():
    """It is no candidate for ``extra`` without a word."""
    record = "createdBy: {properties: {name: {type: string}}}\nreason: {type: string}"
    made = read(document(record=record))
    assert made.candidates == [
        'createdby_name = "createdBy.name"  # may name an employee or a patient: do not keep it',
        'reason = "reason"',
    ]


def test_what_the_document_lacks():
    """The contract in force declares more: each key gets an open point."""
    known = contract(headers={"api-version": "0.4"}, total="count", records="a", empty_status=[404])
    made = read(document(), known)
    assert made.contract is not None
    _, todos = contract_toml({"a": made.contract}, {"a": known}, {"a": made})
    lost = {
        todo["key"]: todo["text"].removeprefix("only in the contract in force: ") for todo in todos
    }
    assert (
        lost.items()
        >= {
            "headers": '{api-version = "0.4"}',
            "total": '"count"',
            "records": '"a"',
            "empty_status": "[404]",
        }.items()
    )
    assert lost["columns"].startswith("cause, delay_days, ")
    assert "cause" not in made.table["columns"]
    assert made.table["required"] == ["confidentiality_code"]
    without = read(document().replace("confidentialityCode:", "kode:"))
    assert "no field in the document is confidentiality_code" in notes(without, "required")
    nobody = read(document().replace("offId: {type: string}}}}}", "who: {type: string}}}}}"))
    assert (nobody.table["person"], "no field names the person" in notes(nobody, "person")) == (
        [],
        True,
    )


def test_a_large_document_ends_one_area():
    """The open point names the path and the reason."""
    wide = "\n".join(f"f{number}: {{type: string}}" for number in range(2_100))
    made = read(document(record=wide))
    assert made.contract is None
    expected = "patient-safety/_search cannot be read: fields with more than 2,000 names"
    assert expected in notes(made, "records")


YAML_ONLY = """
openapi: 3.1.0
x-a: &shared {type: string}
x-b: [NO, no, off, 2026-01-01, 0.10, 0x1F, 1_000, ~, 12:30, !!python/object/apply:os.getcwd []]
x-c: *shared
"""


def test_yaml_is_read_as_json():
    """Words, dates and versions stay texts; a tag makes nothing; an alias is its value."""
    opened = OpenApi(YAML_ONLY.encode())._document
    assert opened["x-b"] == [
        "NO",
        "no",
        "off",
        "2026-01-01",
        "0.10",
        "0x1F",
        "1_000",
        None,
        "12:30",
        [],
    ]
    assert opened["x-c"] == {"type": "string"}


LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.promise("10")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "not OpenAPI 3"),
        (b"<!DOCTYPE html><html>", "not OpenAPI 3"),
        (b'{"swagger": "2.0"}', "a Swagger 2.0 document"),
        (b"swagger: '2.0'", "a Swagger 2.0 document"),
        (b"openapi: 3.0.0\npaths: [", 'in "<byte string>", line 3, column 1'),
        (b"openapi: \xff", "cannot be read as JSON or YAML in UTF-8"),
        (b'{"openapi": "3.0.0", "openapi": "3.1.0"}', "a key twice"),
        (b"openapi: 3.0.0\nopenapi: 3.1.0", "a key twice"),
        (b"openapi: 3.0.0\na: &a {b: 1}\nc: {<<: *a}", "a merge (<<)"),
        (b"openapi: 3.0.0\na: &a [*a]", "an alias in it contains itself"),
        (b"? [a]\n: b", "or a key that is not text"),
        (LAUGHS.encode(), "a document of more than 1,000,000 values"),
        (b"[" * 100_000, "nested too deeply"),
        (b"- " * 100_000, "maximum nesting depth"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_document(content: bytes, message: str):
    """A sentence for each, in bounded time and memory."""
    with pytest.raises(DataContractError) as caught:
        OpenApi(content)
    assert message in caught.value.message
