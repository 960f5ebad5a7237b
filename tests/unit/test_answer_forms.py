"""An answer that would close something is compared with other answers (promise 1)."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.pts_answers import complete_area
from worker.core.answer_forms import AnswerForms, Form, form_of
from worker.core.model import CompleteArea


def form(envelope: Mapping[str, Any], *, repeats: bool = False) -> Form:
    return form_of(
        envelope,
        has_repeats=repeats,
        understood={"total", "page"},
        ignored={"ignored"},
        sizes={"pagesize"},
        page_items=2,
        items=2,
    )


def read(found: Form, *, records: int = 1, pages: int = 1) -> CompleteArea:
    one = complete_area({str(number): 1 for number in range(records)})
    return replace(one, form=found, proof=replace(one.proof, pages=pages))


def known(*reads: CompleteArea) -> AnswerForms:
    forms = AnswerForms()
    for one in reads:
        forms.remember(one)
    return forms


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("usual", "said", "named"),
    [
        ({}, {"more": True}, "more"),
        ({"more": False}, {"more": True}, "more"),
        ({"cursor": None}, {"cursor": "x"}, "cursor"),
        ({"n": 2}, {"n": 3}, "n"),
        ({"complete": True}, {}, "complete"),
        ({"parts": [{"ok": True}]}, {"parts": [{"ok": True}, {"ok": False}]}, "parts.ok"),
        ({}, {"02867599994": True}, "?"),
    ],
    ids=str,
)
def test_what_hardly_any_other_answer_says(usual, said, named):
    """Another field, or another kind of value; a number that is more than the records, or not 0."""
    others = [read(form(usual))] * 20
    assert known(*others).unusual(read(form(said))) == named
    assert known(*others).unusual(read(form(usual))) is None


@pytest.mark.parametrize(
    ("usual", "said"),
    [
        ({"id": "a", "tookMs": 7}, {"id": "b", "tookMs": 0}),
        ({"cursor": "x"}, {"cursor": None}),
        ({"total": 2, "ignored": 1}, {"total": 9, "ignored": {"anything": True}}),
    ],
    ids=str,
)
def test_what_is_as_usual(usual, said):
    """Another value of the same kind, no value, or what is checked elsewhere."""
    assert known(read(form(usual))).unusual(read(form(said))) is None


@pytest.mark.promise("1")
def test_with_which_answers_it_is_compared():
    """Those without records with each other, and those of several pages; else with all."""
    empty, filled = read(form({}), records=0), read(form({}))
    assert known(*[filled] * 20).unusual(read(form({"text": "none"}), records=0)) == "text"
    assert known(*[empty] * 20).unusual(read(form({"more": True}), pages=2)) == "more"
    repeating = read(form({}, repeats=True))
    assert known(*[filled] * 20).unusual(repeating) == "repeatedRecord"
    assert AnswerForms().unusual(read(form({"x": 1}))) is None
