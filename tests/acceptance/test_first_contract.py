"""The first day: from a document in .NET's style to a full night, as docs/first-day.md shows it.

The server answers as the document says, and the program has never seen it. The edits are those that
a person makes at an open point: three at most.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Ended, Installation, calls
from tests.support.raw_server import Reply, http
from tests.support.standin import PRIVACY, SAFETY, Ask, Standin, off_id_of

TEXT = (Path(__file__).parents[2] / "docs/first-day.md").read_text(encoding="utf-8")
DOCUMENTS = Path(__file__).parents[1] / "support/openapi"
PERSONS = [off_id_of(number) for number in range(12)]
PAGE = 2
EDITS_MAX = 3
ORDER = ["sort.empty", "sort.sorted", "sort.unsorted"]
SPRING_IGNORED = [
    *["first", "last", "size", "numberOfElements", "empty"],
    *["pageable.pageNumber", "pageable.pageSize"],
    *[f"{before}{name}" for before in ("", "pageable.") for name in ORDER],
]


def identifier(ask: Ask, name: str) -> str:
    """The person asked for; anything else in the body is an error of the request."""
    assert list(ask.fields) == [name], ask.fields
    return str(ask.fields[name])


def enveloped(ask: Ask) -> Reply:
    """Pages of two, counted in the query. Enums are numbers, and every fourth has no records."""
    off_id, query = identifier(ask, "offId"), ask.target.partition("?")[2]
    number = int(re.fullmatch(r"pageNumber=(\d+)", query)[1])  # type: ignore[index]
    many = PERSONS.index(off_id) % 4
    common = {
        "person": {"offId": off_id, "idType": 1},
        "registeredBy": {"employeeName": "Kari Nordmann", "organizationNumber": "994598759"},
        "createdTime": "2026-05-06T07:08:09.1234567Z",
        "modifiedTime": None,
    }
    safety: dict[str, Any] = {
        "confidentialityCode": 3,
        "cause": 1,
        "delayDays": None,
        "delayDeliveryUntil": "9999-12-31T23:59:59.9999999Z",
        "confidentialObjectId": {"type": 1, "value": "r1"},
    }
    privacy = {"privacyType": 1, "privacyLevel": 1, "restrictionDomain": 0, "timeRanges": None}
    area_fields = safety if ask.area == SAFETY else privacy
    every = [
        {"restrictionId": f"{ask.area}-{off_id[:6]}-{n}", **common, **area_fields}
        for n in range(many)
    ]
    pages = -(-many // PAGE)
    document = {
        "errors": [],
        "data": every[PAGE * (number - 1) : PAGE * number],
        "isSuccess": True,
        "traceId": "00-4bf92f",
        "pageNumber": number,
        "pageSize": PAGE,
        "totalCount": many,
        "totalPages": pages,
        "hasNextPage": number < pages,
        "hasPreviousPage": number > 1,
    }
    return http(document)


def spring_page(ask: Ask) -> Reply:
    """Spring's `Page<T>`: pages of two, counted from 0 in the query."""
    off_id, query = identifier(ask, "nationalId"), ask.target.partition("?")[2]
    number = int(re.fullmatch(r"page=(\d+)", query)[1])  # type: ignore[index]
    codes = {"confidentialityCode": "NORU"} if ask.area == SAFETY else {"privacyType": "BLOCK"}
    common = {"patient": {"nationalId": off_id}, "createdTime": "2026-05-06T07:08:09Z", **codes}
    every = [
        {"uuid": f"{ask.area}-{off_id[:6]}-{n}", **common} for n in range(PERSONS.index(off_id) % 4)
    ]
    content, pages = every[PAGE * number : PAGE * (number + 1)], -(-len(every) // PAGE)
    order = {"empty": True, "sorted": False, "unsorted": True}
    document = {
        "totalElements": len(every),
        "totalPages": pages,
        "first": number == 0,
        "last": number + 1 >= pages,
        "pageable": {"pageNumber": number, "pageSize": PAGE, "sort": order},
        "size": PAGE,
        "content": content,
        "number": number,
        "sort": order,
        "numberOfElements": len(content),
        "empty": not content,
    }
    return http(document)


def bare(ask: Ask) -> Reply:
    """A list; 204 for no records."""
    off_id, name = identifier(ask, "offId"), "Safety" if ask.area == SAFETY else "Privacy"
    owner = {f"patient{name}Object": {"person": {"offId": off_id}}}
    codes = {"confidentialityCode": "NORU"} if ask.area == SAFETY else {"privacyType": "Block"}
    many = PERSONS.index(off_id) % 3
    every = [{"id": f"{ask.area}-{off_id[:6]}-{n}", **owner, **codes} for n in range(many)]
    return http(every) if every else http(b"", status="204 No Content")


CASES: dict[str, tuple[str, Callable[[Ask], Reply], dict[str, str], list[tuple[str, str]], Any]] = {
    "envelope": (
        "dotnet-envelope.json",
        enveloped,
        {
            "/tilgang/api/v2/PatientSafety/Search": SAFETY,
            "/tilgang/api/v2/PatientPrivacy/Search": PRIVACY,
        },
        [("ignore = []", 'ignore = ["errors", "traceId", "pageSize", "hasPreviousPage"]')] * 2,
        {("NORN_FFL", "Manual"), ("Block", "Hard")},
    ),
    "spring": (
        "spring-page.yaml",
        spring_page,
        {f"/pts/v3/{area}/search": area for area in (SAFETY, PRIVACY)},
        [("ignore = []", f"ignore = {json.dumps(SPRING_IGNORED)}")] * 2,
        {("NORU", None), ("Block", None)},
    ),
    "bare": (
        "dotnet-bare.yaml",
        bare,
        {f"/v0.6/access-restrictions/{area}/_search": area for area in (SAFETY, PRIVACY)},
        [('nhn-event-id = "{uuid}"', 'nhn-event-id = "{uuid}", nhn-source-system = "me, v1"')] * 2,
        {("NORU", None), ("Block", None)},
    ),
}


def edited(file: Path, edits: list[tuple[str, str]]) -> None:
    """Make each edit once, on the line below an open point."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for old, new in edits:
        place = next(
            index
            for index, line in enumerate(lines)
            if old in line and new not in line and not line.startswith("#")
        )
        above = [line for line in lines[place - 3 : place] if line.startswith("# TODO ")]
        assert above, lines[place]
        lines[place] = lines[place].replace(old, new)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_from_a_document_to_a_night(standin: Standin, tmp_path: Path, sqlite_url: str, case: str):
    """Five commands, at most three edits, and a sync that ends with 0."""
    document, answerer, paths, edits, codes = CASES[case]
    assert len(edits) <= EDITS_MAX
    standin.people = {off_id: {} for off_id in PERSONS}
    standin.paths, standin.everybody = paths, answerer
    worker = standin.install(tmp_path, sqlite_url)
    (made,) = calls(worker, f"contract from-openapi {DOCUMENTS / document} --out pts.toml")
    assert made.code == 0, made.story()
    edited(tmp_path / "pts.toml", edits)
    worker.configure(api={"contract_file": "pts.toml"})
    learned, probed = learn_and_probe(worker)
    assert (learned.code, probed.code) == (0, 0), learned.story() + probed.story()
    assert "# Open points: 0\n" in learned.out
    assert "# proposal" not in (tmp_path / "learned.toml").read_text(encoding="utf-8")
    states = re.findall(r"^(OK|WARN|FAIL) +(PTS probe|contract) ", probed.out, re.MULTILINE)
    assert [state for state, _ in states][1:] == ["OK"], probed.out
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    found = {
        tuple(row)
        for area, names in (
            ("patient_safety", "confidentiality_code, cause"),
            ("patient_privacy", "privacy_type, privacy_level"),
        )
        for row in worker.store.rows(f"SELECT {names} FROM report_{area}_current")
    }
    assert found == codes
    assert not standin.violations
    assert "Kari" not in learned.out + probed.out + made.out
    if case == "envelope":
        shown = "".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
        printed = (made.out + learned.out + probed.out).replace(f"{tmp_path}/", "").splitlines()
        lines = [line for line in shown.splitlines() if line[:1] not in {"$", "…"}]
        assert [line for line in lines if line not in printed] == []


def learn_and_probe(worker: Installation) -> tuple[Ended, Ended]:
    """What `learn` and `doctor --probe` answer with the edited file."""
    lines = "\n".join(PERSONS)
    words = ("contract learn --out learned.toml", lines), ("doctor --probe --person -", PERSONS[2])
    learned, probed = calls(worker, *words)
    return learned, probed
