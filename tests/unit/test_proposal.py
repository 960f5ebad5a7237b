"""What answers suggest: a style of paging, and which field is which column."""

from typing import Any

import pytest

from worker.areas import area_named
from worker.config.contract_file import load_contract
from worker.contracts.proposal import Asked, Proposal, propose
from worker.contracts.shape import shape_of
from worker.errors import DataContractError

SAFETY = area_named("patient-safety")
KNOWN = load_contract(None)["patient-safety"]
RECORD = {"id": "1", "confidentialityCode": "N"}


def proposed(*answers: Any, **fields: str) -> Proposal:
    return propose(SAFETY, KNOWN, Asked({"path": "/x"}, {}, fields), shape_of(answers))


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
        ({"traceId": "x"}, None),
    ],
)
def test_each_style_of_paging(around: dict[str, Any], paging: dict[str, Any] | None):
    """By the names around the list, and marked as a proposal."""
    made = proposed({"items": [RECORD], **around})
    found = made.contract.paging
    assert (found is None) == (paging is None)
    assert found is None or found.model_dump().items() >= (paging or {}).items()
    assert ("paging" in made.notes) == (paging is not None)
    assert made.left == ()


def test_a_link_in_the_header():
    """Nothing stands around a bare list."""
    made = proposed([RECORD], link="query")
    assert made.contract.paging is not None
    assert made.contract.paging.style == "link"


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "name", ["more", "nextPageNumber", "count", "truncated", "last", "partial"]
)
def test_what_may_speak_of_more_is_not_ignored(name: str):
    """A person has to declare it; until then answers with it are refused."""
    made = proposed({"items": [RECORD], name: None, "traceId": "x"})
    assert made.left == (name,)
    assert made.contract.ignore == ("traceId",)
    assert made.contract.places == {"traceId"}


def test_fields_that_are_no_column_for_sure():
    """A rule out of several, another kind, a parent's: shown, and left to a person."""
    made = proposed(
        [
            {
                "id": 1,
                "accessRestriction": [{"confidentialityCode": "N"}],
                "delayDays": "three",
                "cause": 10,
                "parent": {"cause": "x", "created_time": "x"},
                "created_time": "x",
            }
        ]
    )
    assert made.contract.columns.keys() == {"confidentiality_code", "cause", "source_created_at"}
    assert made.contract.columns["cause"] == ("cause",)
    assert made.contract.columns["source_created_at"] == ("created_time",)
    assert made.contract.required == ("confidentiality_code",)
    assert made.contract.columns["confidentiality_code"] == KNOWN.columns["confidentiality_code"]
    assert "confidentiality_code" in made.empty
    becomes = {row.field: row.becomes for row in made.rows}
    assert becomes["accessRestriction[].confidentialityCode"] == "candidate for extra"
    assert becomes["parent.cause"] == "candidate for extra"
    shown = " ".join(line for lines in made.notes.values() for line in lines)
    for word in ("delayDays is string", "cause has numbers", "no field is called confidentiality"):
        assert word in shown


def test_two_lists_are_refused_by_name():
    """Only a person knows which of them holds the records."""
    with pytest.raises(DataContractError, match="current and former"):
        proposed({"current": [RECORD], "former": [RECORD]})


def test_nobody_has_a_record():
    """The list's place is known all the same; of records, what is in force stands."""
    made = proposed({"items": []}, {"items": []})
    assert (made.contract.records, made.contract.columns) == ("items", KNOWN.columns)
    assert (made.contract.id, made.contract.required) == (KNOWN.id, KNOWN.required)
