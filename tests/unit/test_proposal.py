"""What answers suggest: a style of paging, and which field is which column."""

import json
from typing import Any

import pytest

from tests.support.pts_answers import CONTRACT, SAFETY, contract
from worker.cli.fields import Field
from worker.cli.live_answers import learned
from worker.cli.proposal import Proposal
from worker.core.contract import AreaContract
from worker.http.response import HttpResponse

KNOWN = CONTRACT["patient-safety"]
OWNER = {"patientSafetyObject": {"person": {"offId": "x"}}}
RECORD = {"id": "1", "confidentialityCode": "N", **OWNER}


def proposed(*answers: Any, known: AreaContract = KNOWN, header: str = "") -> Proposal:
    proposal = Proposal(SAFETY, known)
    headers = {f"header:{header}": Field("header")} if header else {}
    proposal.read(answers, headers)
    assert proposal.contract is not None
    return proposal


def notes(proposal: Proposal, key: str) -> str:
    return "\n".join(note.text for note in proposal.notes if note.key == key)


def refused(proposal: Proposal) -> list[str]:
    """The fields that the open point at ``ignore`` names."""
    text = notes(proposal, "ignore").removeprefix("an answer with ").partition(" is refused")[0]
    return text.split(", ") if text else []


@pytest.mark.parametrize(
    ("around", "paging"),
    [
        ({"@odata.nextLink": "https://a/b"}, {"style": "next_link", "field": "@odata.nextLink"}),
        ({"meta": {"next": "x"}}, {"style": "token", "field": "meta.next", "send_as": "next"}),
        ({"pagingReference": 7}, {"style": "reference", "field": "pagingReference"}),
        (
            {"page": 1, "totalPages": 3, "hasNext": True},
            {"style": "page", "field": "page", "pages": "totalPages", "more": "hasNext"},
        ),
        ({"skip": 0, "hasMore": False}, {"style": "offset", "field": "skip", "more": "hasMore"}),
    ],
)
def test_each_style_of_paging(around: dict[str, Any], paging: dict[str, Any]):
    """By the names around the list, and told as a proposal. What else stands there is refused."""
    made = proposed({"items": [RECORD], "traceId": "x", **around})
    assert made.table["paging"].items() >= paging.items()
    assert (made.table["ignore"], refused(made)) == ([], ["traceId"])


def test_a_list_of_links():
    """No style of paging reads it: an open point even if it is ignored, unless it is declared."""
    links = [{"relation": "self", "url": "/a"}, {"relation": "next", "url": "/b"}]
    for ignore in ([], ["link"]):
        made = proposed(
            {"items": [RECORD], "link": links}, known=contract(records="items", ignore=ignore)
        )
        assert notes(made, "paging").startswith("link is a list of links, and no style of paging")
        assert refused(made) == []
    paging = {"style": "next_link", "field": "link[1].url"}
    known = contract(records="items", paging=paging, ignore=["link[0].url"])
    made = proposed({"items": [RECORD], "link": links}, known=known)
    assert (made.table["paging"], notes(made, "paging")) == (paging, "")


def test_headers_that_speak_of_more():
    """``Link`` is a style of paging, and a count is the total; what nobody knows is refused."""
    assert proposed([RECORD], header="link").table["paging"] == {"style": "link"}
    assert proposed([RECORD], header="x-total-count").table["total"] == "header:x-total-count"
    assert refused(proposed([RECORD], header="x-pagination")) == ["header:x-pagination"]


def test_links_to_other_pages():
    """The first page has no link to the one before it; the others do."""
    links = {"next": {"href": "/b"}, "self": {"href": "/a"}}
    page = {"number": 1, "totalPages": 2}
    known = contract(
        records="items",
        paging={"style": "page", "send_as": "page", "pages": "page.totalPages"},
        ignore=[],
    )
    made = proposed({"items": [RECORD], "_links": links, "page": page}, known=known)
    expected = ["_links.next.href", "_links.self.href", "page.number", "_links.prev.href"]
    assert refused(made) == expected
    assert refused(proposed({"items": [RECORD], "_links": links})) == expected[1::2]


@pytest.mark.promise("1")
def test_nothing_is_proposed_to_be_ignored():
    """Not where there is a total, either: it may be that of the page; nor what was only null."""
    answer = {"items": [RECORD], "total": 1, "side": 1, "flere": False, "neste": "/x?side=2"}
    made = proposed({**answer, "nextLink": None, "warnings": [], "trace": "x"})
    assert refused(made) == ["side", "flere", "neste", "nextLink", "warnings", "trace"]
    assert made.table["ignore"] == []
    made = proposed({"items": [RECORD], "antall": 5, "flere": False})
    assert (refused(made), made.table["paging"]) == (["antall", "flere"], None)


def test_fields_that_are_no_column_for_sure():
    """A rule out of several, a parent's: shown, and left to a person."""
    rule, parent = [{"confidentialityCode": "N"}], {"cause": "x", "created_time": "x"}
    record = {"id": 1, "accessRestriction": rule, "cause": 10, "parent": parent, "roles": ["LE"]}
    deep: dict[str, Any] = {"a": {"b": {"delayDays": 1}}, "z": {"delay_days": 2}, "tags": []}
    deep["ls"] = [{"l": [{"m": 1}]}]
    deep["gone"], deep["sender"] = None, None
    made = proposed([{**record, **deep, "created_time": "x"}, {"sender": {"name": "x"}}])
    columns, known = made.table["columns"], KNOWN.model_dump(mode="json")["columns"]
    found = {"delay_days": ["z.delay_days"], "source_created_at": ["created_time"]}
    assert columns == {**known, **found}  # others may have the rest
    assert notes(made, "required") == "no field in these answers is confidentiality_code"
    assert 'parent_cause = "parent.cause"' in made.candidates
    assert not any(
        name in line
        for line in made.candidates
        for name in ("roles", "tags", "ls", "gone", '"sender"')
    )


def test_what_is_declared_around_the_records_stands():
    """If the answers have it, be it null. Around another list, nothing is ignored any more."""
    paging = {"style": "page", "send_as": "p", "send_in": "query", "field": "page"}
    around = {"records": "items", "ignore": ["errors", "gone"], "paging": paging}
    known = AreaContract.model_validate({**KNOWN.model_dump(mode="json"), **around}, strict=False)
    answer = {"items": [RECORD], "errors": None, "page": 1, "pagingReference": None}
    made = proposed(answer, {**answer, "errors": [], "pagingReference": 7}, known=known)
    assert made.contract == known
    assert refused(made) == ["pagingReference"]
    gone = proposed({"items": [RECORD], "errors": None}, known=known)
    assert (gone.table["ignore"], gone.table["paging"]) == (["errors", "gone"], None)
    moved = proposed({**answer, "items": None, "rows": [RECORD]}, known=known).table
    assert (moved["records"], moved["ignore"], moved["paging"]["field"]) == ("rows", [], "page")


def test_the_list_may_be_null_or_empty():
    """It is the list all the same, and nothing to be ignored."""
    made = proposed({"items": [RECORD], "total": 1}, {"items": None, "total": 0}, {"items": []})
    assert (made.table["records"], refused(made)) == ("items", [])
    made = proposed({"data": {"items": [RECORD]}}, {"data": None})
    assert (made.table["records"], refused(made)) == ("data.items", [])


def test_a_place_in_another_case():
    """Live answers close it, also for the style of paging."""
    paging = {"style": "page", "send_as": "page", "field": "page", "pages": "totalpages"}
    around: dict[str, Any] = {
        "records": "items",
        "total": "totalcount",
        "paging": paging,
        "expect": {"ok": True},
    }
    made = proposed(
        {"Items": [RECORD], "TotalCount": 1, "Page": 1, "TotalPages": 1, "Ok": True},
        known=contract(**around, answer_person=[], ignore=[]),
    )
    assert (made.table["records"], made.table["total"]) == ("Items", "TotalCount")
    assert made.table["expect"] == {"Ok": True}
    assert (
        made.table["paging"].items() >= {**paging, "field": "Page", "pages": "TotalPages"}.items()
    )
    assert refused(made) == []


@pytest.mark.promise("1")
def test_a_person_that_few_records_name():
    """An open point, for the others would be failures; so is a person that none names."""
    made = proposed([RECORD, {"id": "2", "confidentialityCode": "N"}])
    assert notes(made, "person") == "1 of 2 records name the person: the others fail"
    made = proposed([{"id": "2", "confidentialityCode": "N"}])
    assert made.table["person"] == []
    assert "an answer about another person is not noticed" in notes(made, "person")


def test_codes_as_numbers():
    """They need names, and the values themselves are not shown."""
    made = proposed([{**RECORD, "confidentialityCode": 7, "cause": 1}])
    points = [note.text for note in made.notes if note.key == "values"]
    assert [text.partition(" ")[0] for text in points] == ["confidentiality_code", "cause"]
    assert "7" not in " ".join(points)
    known = contract(values={"confidentiality_code": {"7": "NORU"}})
    assert notes(proposed([{**RECORD, "confidentialityCode": 7}], known=known), "values") == ""


def answered(*answers: tuple[int, bytes]) -> Proposal:
    responses = [HttpResponse(status=status, headers={}, body=body) for status, body in answers]
    return learned(SAFETY, contract(records="items"), responses)


def test_how_an_empty_answer_looks():
    """A list that is absent or null is proposed; a status is a question."""
    full = json.dumps({"items": [RECORD]}).encode()
    made = answered((200, full), (200, b'{"items": null}'), (204, b""), (404, b"{}"))
    assert (made.table["no_records"], made.table["empty_status"]) == ("empty", [])
    assert notes(made, "no_records").startswith("1 answer without the list")
    assert notes(made, "empty_status").count("answers with") == 2
    assert made.contract is not None
    made = answered((200, full), (200, b'{"items": []}'))
    assert (made.table["no_records"], notes(made, "no_records")) == ("failure", "")
    assert answered((404, b"{}")).contract is None
