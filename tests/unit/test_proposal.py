"""What answers suggest: a style of paging, and which field is which column."""

from typing import Any

import pytest

from worker.areas import area_named
from worker.cli.proposal import REFUSED, Draft, propose, shape_of
from worker.config.contract_file import load_contract
from worker.core.contract import AreaContract

SAFETY = area_named("patient-safety")
KNOWN = load_contract(None)["patient-safety"]
RECORD = {"id": "1", "confidentialityCode": "N"}


def proposed(*answers: Any) -> Draft:
    draft = Draft(KNOWN)
    propose(SAFETY, draft, shape_of(answers))
    return draft


def refused(draft: Draft) -> list[str]:
    return [row["field"] for row in draft.rows if row["becomes"] == REFUSED]


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
    """By the names around the list, and marked as a proposal. What else is a text says nothing."""
    made = proposed({"items": [RECORD], "traceId": "x", **around})
    assert made.contract is not None
    assert made.contract.paging is not None
    assert made.contract.paging.model_dump().items() >= paging.items()
    assert "paging" in made.notes
    assert (made.contract.ignore, refused(made)) == (("traceId",), [])


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, None) for name in ("more", "truncated", "flere")),
        ("scrollId", "x"),
        ("nesteSide", "https://pts.example/?side=2"),
        ("antall", 5),
        ("flere", False),
    ],
)
def test_what_may_speak_of_more_is_not_ignored(name: str, value: object):
    """A person has to declare it, where neither paging nor a total tells where records end."""
    made = proposed({"items": [RECORD], name: value})
    assert refused(made) == [name]
    assert made.contract is not None
    assert made.contract.places == frozenset()


@pytest.mark.promise("1")
def test_numbers_flags_and_addresses_are_never_ignored():
    """Not where there is a total, either: it may be that of the page."""
    answer = {"items": [RECORD], "total": 1, "side": 1, "flere": False, "neste": "/x?side=2"}
    assert refused(proposed(answer)) == ["side", "flere", "neste"]


def test_fields_that_are_no_column_for_sure():
    """A rule out of several, a parent's: shown, and left to a person."""
    made = proposed(
        [
            {
                "id": 1,
                "accessRestriction": [{"confidentialityCode": "N"}],
                "cause": 10,
                "parent": {"cause": "x", "created_time": "x"},
                "roles": ["LE"],
                "created_time": "x",
            }
        ]
    )
    assert made.contract is not None
    assert made.contract.columns["cause"] == KNOWN.columns["cause"]
    assert made.contract.columns["source_created_at"] == ("created_time",)
    assert made.contract.required == ("confidentiality_code",)
    assert made.contract.columns["confidentiality_code"] == KNOWN.columns["confidentiality_code"]
    assert made.facts[0].startswith("columns without a field: confidentiality_code, delay_days")
    assert made.contract.columns["delay_days"] == KNOWN.columns["delay_days"]  # others may have it
    becomes = {row["field"]: row["becomes"] for row in made.rows}
    assert becomes["accessRestriction[].confidentialityCode"] == "column confidentiality_code"
    assert becomes["parent.cause"] == "candidate for extra"
    assert not any("roles" in line for line in made.notes["extra"])
    assert "no field is called confidentiality" in made.notes["required"][0]


def test_what_is_declared_around_the_records_stands():
    """If the answers have it, be it null. What else they have may be a page of its own."""
    paging = {"style": "page", "send_as": "p", "send_in": "query", "field": "page"}
    around = {"records": "items", "ignore": ["errors", "gone"], "paging": paging}
    known = AreaContract.model_validate({**KNOWN.model_dump(mode="json"), **around}, strict=False)
    draft = Draft(known)
    answer = {"items": [RECORD], "errors": None, "page": 1, "pagingReference": None}
    answers = [answer, {**answer, "errors": [], "pagingReference": 7}]
    propose(SAFETY, draft, shape_of(answers))
    assert draft.contract is not None
    assert (draft.contract.paging, draft.contract.ignore) == (known.paging, known.ignore)
    assert (refused(draft), "paging" in draft.notes) == (["pagingReference"], False)


def test_what_differs_from_the_contract_in_force_is_a_proposal():
    """Each key that does, and no other."""
    draft = proposed({"items": [RECORD], "total": 1, "traceId": "x"})
    marked = {key for key, lines in draft.notes.items() if lines == ["proposal"]}
    assert marked == {"records", "ignore", "total"}
