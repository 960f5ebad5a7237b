"""Whether an answer is what the contract declares."""

import json
from typing import Any

import pytest

from tests.support.pts_answers import (
    OFF_ID,
    OTHER_OFF_ID,
    answer,
    contract,
    restriction,
    without,
)
from worker.core.answer import AROUND_MAX, VALUES_MAX, parse
from worker.errors import ContractError, RejectedError, TransientError

LIST, ITEMS, DATA_ITEMS = contract(), contract(records="items"), contract(records="data.items")
UNDECLARED = "undeclared field around the records"
ENVELOPE = contract(
    records="data.items",
    total="data.total",
    expect={"isSuccess": True},
    answer_person=["data.person"],
    ignore=["traceId", "header:X-Pagination"],
)
AROUND: dict[str, Any] = {
    "isSuccess": True,
    "traceId": "t",
    "data": {"total": 1, "person": OFF_ID, "items": [restriction()]},
}


def changed(**values):
    """The envelope with some of its fields changed; ``data_x`` is ``data.x``."""
    document = {**AROUND, "data": dict(AROUND["data"])}
    for name, value in values.items():
        if name.startswith("data_"):
            document["data"][name.removeprefix("data_")] = value
        else:
            document[name] = value
    return document


def test_an_envelope():
    """Every leaf of it is declared."""
    read = answer(AROUND, ENVELOPE, headers={"X-Pagination": "anything"})
    assert (read.items, read.count("data.total")) == ([restriction()], 1)
    for nothing in (None, dict[str, Any]()):
        assert answer({"data.items": [restriction()], "data": nothing}, DATA_ITEMS).items


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("document", "field"),
    [
        (changed(page=1), "page"),
        (changed(warnings=[]), "warnings"),
        (changed(meta={}), "meta"),
        (changed(meta={"partial": {"deep": None}}), "meta.partial.deep"),
        (changed(data_more=False), "data.more"),
        (changed(list=[{"x": 1}]), "list[].x"),
        (changed(**{"": {"traceId": "2 more"}}), ".traceId"),
        ({**AROUND, OTHER_OFF_ID: 1}, "?"),
    ],
)
def test_what_is_not_declared_is_no_complete_read(document, field):
    """Of whatever name and kind; the message names it."""
    with pytest.raises(ContractError, match=UNDECLARED) as caught:
        answer(document, ENVELOPE)
    assert caught.value.field == field


def test_several_undeclared_fields_are_all_named():
    """A single message names them, so that one change of the contract declares them."""
    with pytest.raises(ContractError, match=r"^undeclared fields a, meta\.b around the records; "):
        answer({**AROUND, "a": 1, "meta": {"b": 1}}, ENVELOPE)


@pytest.mark.promise("8")
def test_an_object_in_place_of_the_list():
    """The message names its first fields, and no value; what looks like no name is ``?``."""
    document = {"data": [], OFF_ID: 1, "isSuccess": True, "a b": 1, "meta": {}, "sixth": 1}
    with pytest.raises(ContractError) as caught:
        answer(document, LIST)
    assert "an object with data, ?, isSuccess, ?, meta, where" in caught.value.message
    with pytest.raises(ContractError, match="an empty object, where the contract declares"):
        answer({}, LIST)


@pytest.mark.promise("1")
@pytest.mark.promise("10")
@pytest.mark.parametrize(
    ("declared", "document", "says"),
    [
        # A lone number of a page beside the records is enough for a second page to be missing.
        *(
            (LIST, {"items": [restriction()], **around}, "declares the list of records")
            for around in ({"page": 1}, {"offset": 0}, {"page": {"number": 0}})
        ),
        (ITEMS, {"rows": []}, "no list of records, but an object with rows: correct `records`"),
        (DATA_ITEMS, {"data.items": [restriction()], "data": 5}, UNDECLARED),
        (DATA_ITEMS, {"data.items": [restriction()], "data": []}, UNDECLARED),
        (DATA_ITEMS, {"data.items": [restriction()], "data": ""}, UNDECLARED),
        *(
            (ENVELOPE, document, None)
            for document in (
                changed(isSuccess=False),
                changed(isSuccess=1),
                without(AROUND, "isSuccess"),
                changed(data_person=OTHER_OFF_ID),
                changed(data_person=None),
                changed(data_items={}),
                changed(data_items=None),
                changed(data=None),
                {"isSuccess": True, "data": {"total": 0, "person": OFF_ID}},
                [AROUND],
                AROUND["data"],
                "text",
                None,
            )
        ),
        # A parser would silently drop one, which may be the list.
        (ITEMS, b'{"items": [], "items": [{}]}', "twice"),
        (contract(records="items", ignore=["a.b"]), {"items": [], "a.b": 1, "a": {"b": 2}}, "same"),
        (ITEMS, {"items": [], "more": [1] * (AROUND_MAX + 1)}, "more than 1000 fields around"),
    ],
)
def test_another_shape(declared, document, says):
    """The list, what is expected beside it and the person asked for; and no path twice."""
    with pytest.raises(ContractError, match=says):
        answer(document, declared)


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Link", "<?p=2>; rel=last"),
        ("Content-Range", "items 0-0/5"),
        ("X-Pagination", '{"HasNext":true}'),
        ("X-Total-Count", "1"),
    ],
)
def test_a_header_that_speaks_of_more(name, value):
    """It is declared, or the answer is a part."""
    with pytest.raises(ContractError):
        answer([restriction()], headers={name: value})
    ignoring = contract(records="items", ignore=[f"header:{name}"])
    assert answer({"items": []}, ignoring, headers={name: value}).items == []


PAGES: dict[str, Any] = {
    "paging": {"style": "page", "send_as": "p", "field": "page", "pages": "pages", "more": "more"},
    "expect": {"ok": True},
    "answer_person": ["who"],
}


def test_a_status_that_means_no_records():
    """Declared, and never with an HTML page, which a proxy sends."""
    declared = contract(empty_status=[204, 404], records="items", total="total", **PAGES)
    assert answer(b"", declared, status=204, headers={"Content-Length": "0"}).items == []
    said = {"items": [], "total": 0, "page": 1, "pages": 1, "ok": True, "who": OFF_ID}
    assert answer({"title": "Not Found", **said}, declared, status=404).items == []
    with pytest.raises(RejectedError):
        answer(b"<html>", declared, status=404, headers={"Content-Type": "text/html"})


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>", {}),
        ([restriction()], {}),
        ({"items": [restriction()]}, {}),
        ({"ok": False}, {}),
        ({"who": OFF_ID[::-1]}, {}),
        ({"more": True}, {}),
        ({"page": 1, "pages": 5}, {}),
        ({"page": 3}, {}),
        (b"", {"X-Count": "3"}),
        (b"", {"X-Count": "9" * 5_000}),
        (b"", {"X-Total-Count": "3"}),
        (b"", {"Content-Range": "items 0-0/3"}),
        (b"", {"Content-Length": "512"}),
        (b"", {"Link": '<?page=2>; rel="next"'}),
    ],
)
def test_a_status_that_means_no_records_and_an_answer_that_has_some(body, headers):
    """What the answer says besides is looked at, as in any other."""
    declared = contract(empty_status=[404], records="items", total="header:X-Count", **PAGES)
    with pytest.raises((ContractError, TransientError)):
        answer(body, declared, status=404, headers=headers)


NO_JSON = (b"", b" ", b"<html>", b"[", b"[] []", b"[NaN]", b"[1e999]", b"\xff", b"nil")


@pytest.mark.promise("6")
@pytest.mark.parametrize(
    ("body", "kind"), [*((body, "application/json") for body in NO_JSON), (b"[]", "text/html")]
)
def test_no_json_is_not_pts(body, kind):
    """A gateway in maintenance, whatever the status: nothing is concluded about PTS."""
    with pytest.raises(TransientError, match="the answer is not from PTS"):
        answer(body, headers={"Content-Type": kind})


@pytest.mark.promise("10")
@pytest.mark.parametrize("unit", ["1", "[]", "{}", '{"a":[]}', "[[[]]]"])
def test_too_many_values(unit):
    """They are refused before they are parsed: each would become 50 bytes and more."""
    few = f"[{','.join([unit] * 1000)}]".encode()
    many = f"[{','.join([unit] * (VALUES_MAX + 1))}]".encode()
    assert len(parse(few)) == 1000
    with pytest.raises(ContractError, match="more than 200000 values"):
        parse(many)


def test_a_byte_order_mark():
    """Some servers send one."""
    assert answer(b"\xef\xbb\xbf" + json.dumps([]).encode()).items == []
