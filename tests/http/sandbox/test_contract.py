"""The stand-in for PTS asks and answers as a contract says, whatever its shape."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from typing import Any, cast

import anyio
import httpx
import pytest

from tests.support.contracts import SHAPES, Document, contract
from tests.support.sandbox_caller import OFF_IDS, PRIVACY_PATH, Caller, richest
from worker.core.area import AREAS, area_named
from worker.core.contract import AreaContract
from worker.core.identity import NationalId
from worker.core.model import Person, Record
from worker.http.response import HttpResponse
from worker.ports import real_runtime
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import Request, RetryingClient
from worker.sandbox.people import COLUMNS
from worker.sandbox.serve import RunningSandbox

PERSONS = OFF_IDS[:40]
PAGE_SIZE = 2
"""Of the sandbox that a module shares."""


class Sender:
    """Sends the requests of the worker's own reader, with a caller's token and proofs."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.reserve_memory = nullcontext

    async def send(self, request: Request) -> HttpResponse:
        authorization = self._caller.headers(request.url.partition("?")[0])
        headers = {**request.new_headers(), **authorization}
        found = self._caller.http.post(request.url, content=request.body, headers=headers)
        named = {name: (value,) for name, value in found.headers.items()}
        return HttpResponse(status=found.status_code, headers=named, body=found.content)


async def read_all(caller: Caller, document: Document) -> dict[tuple[str, str], Sequence[Record]]:
    """Every person's records by area, as the worker reads them by this contract."""
    declared = {
        name: AreaContract.model_validate_json(json.dumps(one)) for name, one in document.items()
    }
    reader = PtsReader(
        areas=AREAS,
        contract=declared,
        base_url=caller.base_url,
        client=cast("RetryingClient", Sender(caller)),
        runtime=real_runtime(),
    )
    found: dict[tuple[str, str], Sequence[Record]] = {}
    for area, off_id in product(declared, PERSONS):
        read = await reader.read(Person(person_key="p", off_id=NationalId(off_id)), area)
        is_paged = declared[area].paging is not None
        assert not is_paged or read.proof.record_count <= PAGE_SIZE * read.proof.pages
        found[area, off_id] = read.records
    return found


@pytest.fixture(scope="module")
def plain(shared_sandbox: RunningSandbox) -> Iterator[dict[tuple[str, str], Sequence[Record]]]:
    """What the persons have, read by the default contract."""
    caller = Caller(shared_sandbox).sign_in()
    shared_sandbox.control(contract=contract())
    yield anyio.run(read_all, caller, contract())
    caller.close()


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_says_the_same(
    sandbox: RunningSandbox,
    signed_in: Caller,
    plain: dict[tuple[str, str], Sequence[Record]],
    name: str,
):
    """The worker, with the same contract, reads the same values in each shape."""
    sandbox.control(contract=SHAPES[name])
    found = anyio.run(read_all, signed_in, SHAPES[name])
    assert len([records for records in plain.values() if records]) > 15
    for key, records in found.items():
        values = [_values(key[0], record) for record in records]
        assert values == [_values(key[0], record) for record in plain[key]], key
        assert all((record.extra is not None) == (name == "unlike") for record in records)


def _values(area: str, record: Record) -> dict[str, Any]:
    """Columns, and the last part of the key; of what one shape writes in another way, the names."""
    names = [column.name for column in area_named(area).columns]
    values = dict(zip(names, record.columns, strict=True), key=record.key.rpartition("|")[2])
    if "time_ranges" in values:
        values["time_ranges"] = str([[*one] for one in json.loads(str(values["time_ranges"]))])
    return {name: values[name] for name in values.keys() - {"created_by"}}


def test_the_sandbox_has_every_column():
    """What a contract may name as a column, the sandbox has a value for."""
    for area in AREAS:
        known = {column.name for column in area.columns if not column.derived_from}
        assert known == COLUMNS[area.name]


def test_the_documented_shape(signed_in: Caller):
    """By default the answer is what the documentation leads one to expect (PTS reference, 2)."""
    off_id, (first, *_) = richest(signed_in)
    assert first.keys() == {
        "id", "createdTime", "modifiedTime", "createdBy", "patientSafetyObject",
        "parentConfidentialObjectId", "confidentialityCode", "cause", "delayDays",
        "delayFromTime", "delayDeliveryUntil",
    }  # fmt: skip
    assert first["parentConfidentialObjectId"] is None
    assert first["createdBy"].keys() == {"role", "organisationNumber"}
    assert first["patientSafetyObject"]["person"] == {"offId": off_id}
    assert first["patientSafetyObject"]["confidentialObjectId"].keys() == {"type", "value"}
    _, (private, *_) = richest(signed_in, PRIVACY_PATH)
    assert private.keys() == {
        "id", "createdTime", "modifiedTime", "patientPrivacyObject", "privacyType",
        "privacyLevel", "restrictionDomain", "objectScope", "subjectScope", "timeRanges",
    }  # fmt: skip


UNLIKE = SHAPES["unlike"]["patient-safety"]


def ask(caller: Caller, off_id: str, **changes: Any) -> httpx.Response:
    """A search by the contract ``unlike``, or one that departs from it."""
    url = f"{caller.base_url}/safety"
    request: dict[str, Any] = {
        "params": {"api-version": "1.0"},
        "nhn-event-id": str(uuid.uuid4()),
        "nhn-source-system": "pts-worker",
        "search": {"by": [{"kind": "PNR", "value": off_id}]},
        "take": 50,
    } | changes
    own = {name: request[name] for name in UNLIKE["headers"] if request[name]}
    not_body = {"params", *UNLIKE["headers"]}
    body = {name: value for name, value in request.items() if name not in not_body}
    headers = caller.headers(url) | own
    return caller.http.post(url, params=request["params"], json=body, headers=headers)


DEPARTURES: dict[str, tuple[dict[str, Any], str]] = {
    "no query": ({"params": {}}, "query.api-version"),
    "another query": ({"params": {"api-version": "2.0"}}, "query.api-version"),
    "more query": ({"params": {"api-version": "1.0", "debug": "1"}}, "query"),
    "no header": ({"nhn-source-system": ""}, "headers.nhn-source-system"),
    "another header": ({"nhn-source-system": "PTS-worker"}, "headers.nhn-source-system"),
    "no uuid": ({"nhn-event-id": "1"}, "headers.nhn-event-id"),
    "another number": ({"take": 51}, "$.take"),
    "a text for a number": ({"take": "50"}, "$.take"),
    "more fields": ({OFF_IDS[0]: 1}, "$"),
    "names in another case": (
        {"search": {"by": [{"Kind": "PNR", "value": OFF_IDS[0]}]}},
        "$.search",
    ),
    "a number for a person": ({"search": {"by": [{"kind": "PNR", "value": 1}]}}, "$.search"),
    "two persons": (
        {"search": {"by": [{"kind": "PNR", "value": one} for one in OFF_IDS[:2]]}},
        "$.search",
    ),
}


@pytest.mark.parametrize(("changes", "place"), DEPARTURES.values(), ids=DEPARTURES.keys())
def test_a_request_that_departs_is_refused(
    sandbox: RunningSandbox, signed_in: Caller, changes: dict[str, Any], place: str
):
    """400, and the problem names the place and no value."""
    sandbox.control(contract=SHAPES["unlike"])
    assert ask(signed_in, OFF_IDS[0]).status_code in {200, 204}
    answer = ask(signed_in, OFF_IDS[0], **changes)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [place])
    assert OFF_IDS[0] not in answer.text


def test_the_old_route_is_a_contract(sandbox: RunningSandbox, signed_in: Caller):
    """A route is served if a contract has it, with its version; the others are 404."""
    old = "/access-restrictions/patient-safety/_search"
    assert signed_in.search(OFF_IDS[0], old).status_code == 404
    document = contract()
    document["patient-safety"] |= {"path": old, "headers": {"api-version": "0.4"}}
    sandbox.control(contract=document)
    assert signed_in.search(OFF_IDS[0], old).status_code == 200
    plain = signed_in.headers(f"{signed_in.base_url}{old}")
    assert signed_in.search(OFF_IDS[0], old, headers=plain).status_code == 400
    assert signed_in.search(OFF_IDS[0]).status_code == 404
