"""An answer that would close something is compared with other answers (promise 1)."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.test_confirmation import area
from worker.core.answer_forms import AnswerForms, Form, form_of
from worker.core.model import CompleteArea


def form(envelope: Mapping[str, Any], items: int = 2, *, repeats: bool = False) -> Form:
    return form_of(
        envelope,
        has_repeats=repeats,
        understood={"total", "page"},
        ignored={"ignored"},
        sizes={"pagesize"},
        page_items=items,
        items=items,
    )


def read(found: Form, *, records: int = 1, pages: int = 1) -> CompleteArea:
    one = area({str(number): 1 for number in range(records)})
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
        ({"cursor": ""}, {"cursor": "x"}, "cursor"),
        ({"left": []}, {"left": ["x"]}, "left"),
        ({"left": {}}, {"left": {"n": 1}}, "left.n"),
        ({"n": 2}, {"n": 3}, "n"),
        ({"n": 0}, {"n": 1}, "n"),
        ({"n": "2"}, {"n": "3"}, "n"),
        ({"parts": [{"ok": True}]}, {"parts": [{"ok": True}, {"ok": False}]}, "parts.ok"),
        ({"pageSize": 100}, {"pageSize": 2}, "pageSize"),
        ({"complete": True}, {}, "complete"),
        ({"parts": [{"n": 1}]}, {"parts": "one"}, "parts.n"),
        ({"a": {"b": {"c": 0}}}, {"a": {"b": {"c": 1}}}, "a.b.c"),
        ({"total": 2, "page": 1}, {"total": 2, "page": 1, "more": True}, "more"),
    ],
    ids=str,
)
def test_what_hardly_any_other_answer_says(usual, said, named):
    """Another field, or another kind of value; a number that is more than the records, or not 0."""
    others = [read(form(usual))] * 20
    assert named == known(*others).unusual(read(form(said)))
    assert named == known(*others, read(form(said))).unusual(read(form(said)))
    assert known(*others).unusual(read(form(usual))) is None


@pytest.mark.parametrize(
    ("usual", "said"),
    [
        ({"id": "a"}, {"id": "b"}),
        ({"tookMs": 7}, {"tookMs": 8}),
        ({"n": 1}, {"n": 2}),
        ({"tookMs": 7}, {"tookMs": 1}),
        ({"tookMs": 7}, {"tookMs": 0}),
        ({"pageSize": 100}, {"pageSize": 50}),
        ({"score": 1.5}, {"score": -2.5}),
        ({"cursor": "x"}, {"cursor": None}),
        ({"total": 2}, {"total": 9}),
        ({"ignored": 1}, {"ignored": {"anything": True}}),
        ({"page": {"ok": True}}, {"page": {"ok": True}}),
    ],
    ids=str,
)
def test_what_is_as_usual(usual, said):
    """Another value of the same kind, no value, or what is checked elsewhere."""
    assert known(read(form(usual))).unusual(read(form(said))) is None


def test_one_in_ten_is_usual():
    """So many wrong answers would be more than the guard lets pass."""
    plain, marked = read(form({})), read(form({"x": 1}))
    assert known(*[plain] * 18, *[marked] * 2).unusual(marked) is None
    assert known(*[plain] * 19, marked).unusual(marked) == "x"


def test_empty_answers_are_compared_with_empty_ones():
    """A server may say that there is nothing. Without any, those with records are asked."""
    nothing = read(form({"text": "none"}), records=0)
    filled = [read(form({}))] * 20
    assert known(*filled).unusual(nothing) == "text"
    assert known(*filled, nothing).unusual(nothing) is None
    assert known(*filled, nothing).unusual(read(form({"text": "none"}))) == "text"


def test_answers_of_several_pages_are_compared_with_each_other():
    """Their last page may say more. Without any, those of one page are asked."""
    last = read(form({"first": False}), pages=2)
    assert known(*[read(form({"first": True}))] * 20).unusual(last) == "first"
    assert known(*[read(form({}), pages=2)] * 20).unusual(last) == "first"


@pytest.mark.promise("1")
def test_the_only_person_with_records():
    """Where nobody else has any, or nobody else has several pages, all answers are asked."""
    empty = [read(form({}), records=0)] * 20
    assert known(*empty).unusual(read(form({"more": True}))) == "more"
    assert known(*empty).unusual(read(form({"more": True}), pages=2)) == "more"
    assert known(*empty).unusual(read(form({}))) is None


@pytest.mark.promise("1")
def test_a_record_that_stands_twice():
    """It may stand in the place of another one, also where a total says three."""
    repeating = read(form({}, repeats=True))
    assert known(*[read(form({}))] * 20).unusual(repeating) == "repeatedRecord"
    assert known(*[repeating] * 20).unusual(repeating) is None


def test_nothing_to_compare_with():
    """The first answers of a run, and the only one of a backfill."""
    assert AnswerForms().unusual(read(form({"x": 1}))) is None


def test_no_name_is_shown_that_could_be_somebodys():
    """A field's name may be an identifier."""
    assert known(read(form({}))).unusual(read(form({"02867599994": True}))) == "?"


def test_large_envelopes_cost_little():
    """Neither time nor memory grows with what an answer says."""
    hostile = {f"n{number}": {"a": [[{"b": number}] * 9] * 99} for number in range(20_000)}
    began_s = time.process_time()
    found = form(hostile)
    assert time.process_time() - began_s < 0.5
    assert len(found) <= 110
    forms = AnswerForms()
    for number in range(200):
        forms.remember(read(form({f"n{number}x{n}": n for n in range(99)})))
    assert forms.unusual(read(form({"n199x9": 1}))) == "n199x9"
