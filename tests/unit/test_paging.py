"""Following an answer to its end, and noticing when that is not possible."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pages import URL, page, read_on, sent, state
from tests.support.pts_answers import OFF_ID
from worker.core.paging import PageRequest
from worker.errors import PagingError


def test_a_bare_list_is_the_end():
    """An array with no sign of more is a whole answer."""
    walk = state()
    assert walk.next_request(page(1, 2)) is None
    assert (walk.pages, walk.items) == (1, 2)
    assert walk.first == PageRequest(url=URL)


@pytest.mark.parametrize(
    "name",
    [
        "ContinuationToken",
        "nextPageToken",
        "cursor",
    ],
)
@pytest.mark.parametrize("token", ["a b&c", 1, "0"])
def test_tokens(name, token):
    """A token is opaque, and goes back under its own name, in the query and the body."""
    walk = state()
    request = walk.next_request(page(1, around={name: token}))
    assert sent(request) == ({name: str(token)}, {name: token})
    assert walk.next_request(page(2, around={name: None})) is None
    assert (walk.pages, walk.items) == (2, 2)


@pytest.mark.promise("10")
@pytest.mark.parametrize("name", ["nextLink", "nextPageToken", "pagingReference"])
def test_a_very_long_continuation(name):
    """It is neither sent nor searched for identifiers, which takes seconds with a megabyte."""
    at_most, longer = (page(1, around={name: "?" + "a" * (n - 1)}) for n in (8_192, 8_193))
    assert state().next_request(at_most) is not None
    with pytest.raises(PagingError, match="a continuation of more than 8192 characters"):
        state().next_request(longer)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("around", "headers"),
    [
        ({"total": int(OFF_ID)}, {}),
        ({f"next{OFF_ID}": "x"}, {}),
        ({}, {"x-total-count": OFF_ID}),
        ({}, {f"x-next-page-{OFF_ID}": "1"}),
    ],
    ids=str,
)
def test_no_message_holds_the_identifier(around, headers):
    """Neither a number nor a name in an answer brings an identifier into a message."""
    with pytest.raises(PagingError) as caught:
        state().next_request(page(1, around=around, headers=headers))
    assert OFF_ID.lstrip("0") not in caught.value.message


@pytest.mark.promise("8")
@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"\xf8", b"ab"])
def test_token_with_the_identifier(alphabet, before):
    """It goes into the body only, since URLs are logged; also in base64, wherever it stands."""
    token = alphabet(before + OFF_ID.encode()).decode()
    for text in (token, token.rstrip("="), OFF_ID + "-2"):
        request = state().next_request(page(1, around={"nextToken": text}))
        assert sent(request) == ({}, {"nextToken": text})


@pytest.mark.parametrize("first", [0, 1])
def test_page_numbers(first):
    """A page number is counted on until the total is reached, from 0 or 1."""
    walk = state()
    facts = {"pageSize": 2, "total": 5}
    numbers = [sent(walk.next_request(page(1, 2, around={"page": first, **facts})))[1]]
    numbers.append(sent(walk.next_request(page(3, 4, around={"page": first + 1, **facts})))[1])
    assert numbers == [{"page": first + 1}, {"page": first + 2}]
    assert walk.next_request(page(5, around={"page": first + 2, **facts})) is None


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([({"page": 1, "total": 2}, 1), ({"page": 2, "total": 2},)], "an empty page after 1 of 2"),
        ([({"nextToken": "a"}, 1), ({"nextToken": "a"}, 2)], "a loop"),
        ([({"next": "?a=1"}, 1), ({"next": "?a=2"}, 2), ({"next": "?a=1"}, 3)], "a loop"),
        ([({"nextToken": "a"}, 1), ({"nextToken": "b"}, 1)], "repeats a record"),
        ([({"nextToken": "a"}, 1), ({}, 1)], "repeats a record"),
        ([({"nextToken": "a", "total": 2}, 1), ({"total": 3}, 2)], "the total changed"),
        ([({"nextToken": "a", "total": 3}, 1), ({"total": 3}, 2)], "the total says 3"),
        ([({"page": 1, "total": 2}, 1), ({"page": 1, "total": 2}, 2)], "page 2 was requested"),
        ([({"offset": 0, "total": 2}, 1), ({"offset": 0, "total": 2}, 2)], "does not begin after"),
    ],
)
def test_contradictory_pages(pages, message):
    """Loops, repeated records and changing totals are errors."""
    with pytest.raises(PagingError, match=message):
        read_on(state(), *(page(*numbers, around=around) for around, *numbers in pages))


def test_too_many_pages():
    """There is an end to following."""
    walk = state(pages_max=3)
    with pytest.raises(PagingError, match="more than 3 pages"):
        read_on(walk, *(page(n, around={"nextToken": str(n)}) for n in range(1, 9)))
    assert walk.pages == 3


@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=5), with_total=st.booleans())
def test_a_correct_server_is_read_completely(sizes, with_total):
    """However a server cuts its list into pages, all of it is read, and then it ends."""
    walk = state()
    number = 0
    for index, size in enumerate(sizes):
        last = index == len(sizes) - 1
        around = {"nextToken": None if last else f"t{index}"}
        if with_total:
            around["total"] = sum(sizes)
        answer = page(*range(number + 1, number + size + 1), around=around)
        number += size
        assert (walk.next_request(answer) is None) == last
    assert (walk.pages, walk.items) == (len(sizes), sum(sizes))


@pytest.mark.promise("1")
@given(
    total=st.integers(1, 12), size=st.integers(1, 5), lost=st.integers(1, 12), base=st.booleans()
)
def test_a_server_that_loses_a_record_is_found_out(total, size, lost, base):
    """If a page lacks a record of the total, the area is an error and not one record shorter."""
    numbers = [n for n in range(1, total + 1) if n != min(lost, total)]
    answers = [
        page(
            *numbers[index * size : (index + 1) * size],
            around={"page": index + base, "pageSize": size, "total": total},
        )
        for index in range(total + 1)
    ]
    with pytest.raises(PagingError):
        read_on(state(), *answers)
