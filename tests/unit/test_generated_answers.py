"""An answer that shows that it is a part is no complete read, whatever it looks like."""

import json
from collections import Counter
from contextlib import nullcontext
from random import Random
from typing import Any, Final, cast

import pytest

from tests.support.clock import FakeRuntime
from tests.support.pts_answers import (
    JSON,
    OFF_ID,
    OTHER_OFF_ID,
    SAFETY,
    contract,
    person,
    restriction,
    without,
)
from worker.core.contract import HEADER
from worker.errors import AreaError
from worker.http.response import HttpResponse
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient

SAYS: Final = {
    "none": (),
    "link": (),
    "next_link": ("field",),
    "token": ("field",),
    "reference": ("field",),
    "page": ("field", "pages", "more"),
    "offset": ("field", "more"),
}
"""What the answers of each style may say of their pages, besides a ``Link``."""
COUNTED: Final = ("page", "offset")
LINK, COUNT = f"{HEADER}Link", f"{HEADER}X-Total-Count"
SPEAKING: Final = {
    f"{HEADER}Content-Range": "items 0-0/9",
    f"{HEADER}X-Pagination": '{"hasNext": true}',
    LINK: '<?p=9>; rel="next"',
    COUNT: "9",
}
"""Headers that speak of more, and what they say."""
PARENTS: Final = ("", "", "data.", "meta.", "meta.paging.")
NAMES: Final = ("next", "hasMore", "page", "count", "@odata.nextLink", "truncated", "offset", "ø")
PLAIN: Final = (None, 0, 1, "", "a", False, True, 1.5)
LEAVES: Final[tuple[Any, ...]] = (*PLAIN, {}, [], {"b": None}, [{"id": "1"}])

Answer = dict[str, Any]
"""What an answer says, by its place, with its ``records``; a sign may be in other keys, too."""


class MadeUp:
    """A contract, and a PTS that answers by it, as a ``RetryingClient`` hands it to one reader.

    Attributes:
        ids: of the records that exist.
        sign: how the answers show that they do not hold all of these; empty if they do.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.reserve_memory = nullcontext
        self._style = random.choice([*SAYS, *COUNTED])
        is_bare = self._style in ("none", "link", *COUNTED) and self._is(0.3)
        self._list = "" if is_bare else random.choice(["items", "data.list"])
        self._first = random.randint(0, 1)
        self._places = self._placed()
        self.declared = contract(**self._keys())
        every = [restriction(number) for number in range(1, random.randint(0, 6) + 1)]
        self.ids = {one["id"] for one in every}
        is_part = bool(every) and self._is(0.6)
        held = random.sample(every, random.randrange(len(every))) if is_part else every
        self._total, self._asked, self._always = len(held), 0, Answer()
        size = len(held) if self._style == "none" else random.randint(1, 3)
        self._starts = range(0, len(held), size) if held else range(1)
        self._answers = [
            self._answer(held[start : start + size], number)
            for number, start in enumerate(self._starts)
        ]
        self.sign = ""
        if is_part:
            self.sign, says = random.choice([*self._signs().items()])
            is_once = self.sign not in ("more", "field", "again") and self._is(0.5)
            (random.choice(self._answers) if is_once else self._always).update(says)

    def _is(self, share: float) -> bool:
        return self._random.random() < share

    def _placed(self) -> dict[str, str]:
        """The place of each thing that the answers say."""
        said = [one for one in SAYS[self._style] if self._style not in COUNTED or self._is(0.6)]
        said += [one for one in ("expect", "person", "ignore") if self._is(0.4)]
        places = {one: f"{self._place()}_{one}" for one in said} if self._list else {}
        if self._is(0.4):
            places["total"] = f"{self._place()}_total" if self._list and self._is(0.7) else COUNT
        return places

    def _place(self) -> str:
        return self._random.choice(PARENTS) + self._random.choice(NAMES)

    def _keys(self) -> dict[str, Any]:
        at = self._places
        paging: Any = {"style": self._style}
        paging |= {one: at[one] for one in SAYS[self._style] if one in at}
        if self._style in ("token", *COUNTED):
            paging |= {"send_as": "p", "send_in": self._random.choice(["body", "query"])}
        if self._style == "page":
            paging["first"] = self._first
        return {
            "records": self._list,
            "no_records": self._random.choice(["failure", "empty"]),
            "total": at.get("total", ""),
            "expect": {at["expect"]: True} if "expect" in at else {},
            "answer_person": [at["person"]] if "person" in at else [],
            "ignore": [at["ignore"]] if "ignore" in at else [],
            "paging": paging if self._style != "none" else "none",
        }

    def _answer(self, records: list[Any], number: int) -> Answer:
        """An answer with these records, which says what it is: the one with this number."""
        is_last = number + 1 >= len(self._starts)
        field = {
            "next_link": None if is_last else f"?p={number}",
            "token": None if is_last else f"t{number}",
            "reference": 0 if is_last else number + 1,
            "page": self._first + number,
            "offset": [*self._starts, self._total][number],
        }
        says = {
            "field": field.get(self._style),
            "pages": len(self._starts),
            "more": not is_last,
            "total": self._total,
            "expect": True,
            "person": OFF_ID,
            "ignore": self._random.choice(PLAIN),
        }
        answer = {place: says[one] for one, place in self._places.items()}
        if self._style == "link" and not is_last:
            answer[LINK] = f"<?p={number}>; rel=next"
        is_absent = not records and self.declared.no_records == "empty" and self._is(0.5)
        return {**answer, "records": None if self._list and is_absent else records}

    def _signs(self) -> dict[str, Answer]:
        """What would show that these answers are a part."""
        at, random = self._places, self._random
        declared = {LINK if self._style == "link" else "", at.get("total")}
        header = random.choice([one for one in SPEAKING if one not in declared])
        record = restriction(9, patientSafetyObject={"person": {"offId": OTHER_OFF_ID}})
        broken = [without(restriction(9), "id"), without(restriction(9), "confidentialityCode")]
        signs: dict[str, Answer] = {
            "status": {"status": random.choice([204, 206])},
            "shape": {"body": [] if self._list else {"items": []}},
            "record": {"more records": [random.choice([record, *broken])]},
            "header": {header: SPEAKING[header]},
        }
        if self._list:
            signs["leaf"] = {self._place(): random.choice(LEAVES)}
        if self._list and self.declared.no_records == "failure":
            signs["no list"] = {"records": None}
        wrong: dict[str, list[Any]] = {
            "expect": [None, False, 1, "true"],
            "person": [None, "", OTHER_OFF_ID],
            "total": [self._total + number for number in range(1, 4)],
            # One more would be the empty page that follows here, and hide nothing.
            "pages": [len(self._starts) + number for number in range(2, 5)],
            "more": [True],
            "field": [{"next_link": "?p=0", "token": "t0", "reference": 1}.get(self._style, 99)],
        }
        signs |= {one: {at[one]: random.choice(wrong[one])} for one in wrong if one in at}
        if self._style == "link":
            signs["field"] = {LINK: "<?p=0>; rel=next"}
        if self._style in COUNTED and len(self._starts) > 1:
            signs["again"] = {"records": self._answers[0]["records"]}
        return signs

    async def send(self, *_request: object) -> HttpResponse:
        """The next answer; after the last the first again, or an empty page where they count."""
        number, self._asked = self._asked, self._asked + 1
        is_behind = number >= len(self._answers) and self._style in COUNTED
        answer = self._answers[number % len(self._answers)]
        chosen = self._answer([], len(self._starts)) if is_behind else answer
        return _response({**chosen, **self._always}, self._list)


def _response(answer: Answer, at: str) -> HttpResponse:
    """An answer with the list of its records at this place."""
    records = answer.pop("records")
    if "more records" in answer:
        records = [*(records or []), *answer.pop("more records")]
    status, other = answer.pop("status", 200), answer.pop("body", None)
    headers, document = dict(JSON), dict[str, Any]()
    for place, value in {**answer, at: records}.items():
        if place.startswith(HEADER):
            headers[place.removeprefix(HEADER).lower()] = (str(value),)
            continue
        *parents, name = place.split(".")
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    body = other if other is not None else document if at else records
    return HttpResponse(status=status, headers=headers, body=json.dumps(body).encode())


async def read(made: MadeUp) -> set[str] | None:
    """The ids of what was read; None if the read is not complete."""
    reader = PtsReader(
        areas=[SAFETY],
        base_url="https://pts.example",
        client=cast("RetryingClient", made),
        runtime=FakeRuntime().runtime,
        contract={SAFETY.name: made.declared},
    )
    try:
        return {record.key for record in (await reader.read(person(), SAFETY.name)).records}
    except AreaError:
        return None


@pytest.mark.promise("1")
@pytest.mark.parametrize("answers", [300, pytest.param(10_000, marks=pytest.mark.nightly)])
async def test_a_part_is_never_taken_for_the_whole(
    request: pytest.FixtureRequest, answers: int
) -> None:
    """It would close what it lacks. What is whole is read, so that this says something."""
    seed, read_of = request.config.getoption("hypothesis_seed"), Counter[str]()
    for number in range(answers):
        made = MadeUp(Random(f"{seed} {number}"))
        wanted = None if made.sign else made.ids
        assert await read(made) == wanted, (seed, number, made.sign, made.declared)
        read_of[made.sign] += 1
    assert len(read_of) == 14
    assert read_of[""] > answers / 3
