"""When a run ends early, and when failures are persons': nights of the complete worker.

In virtual time: everything but sockets and clocks is the real program.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.politeness.night import HOUR_S, KINDS, Asked, Nights, Script, status, wait
from worker.sandbox.people import PRIVACY, SAFETY
from worker.sandbox.web import Response

pytestmark = pytest.mark.promise("6")

CODES = {"401": 77, "403": 77, "nonce": 77, "400": 65, "404": 65, "shape": 65}
PATIENCE_S = 600.0
PERSONS, MANY = 150, 600
LATER_S = 1.0
BY_DAY = ("503", "401", "shape")
ASKED_ONCE = ("400", "403", "404", "html", "shape", "long wait")
"""Kinds that nobody retries at once: 100 requests must do, and 250 of the others."""


def kinds(*more: str, by_day: Sequence[str] = BY_DAY) -> list[Any]:
    """Ways to fail; most of them are tried by night."""
    every = [*(kind for kind in KINDS if "wait" not in kind), *more]
    rest = [pytest.param(kind, marks=pytest.mark.nightly) for kind in every if kind not in by_day]
    return [*by_day, *rest]


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    """Of a worker with some persons."""
    made = Nights(tmp_path, PERSONS)
    yield made
    made.stage.close()


def for_everybody(kind: str, until_s: float = float("inf"), since_s: float = 0.0) -> Script:
    """PTS fails so for all, for a while."""
    return lambda ask: KINDS[kind]() if since_s <= ask.at_s < until_s else None


def for_some(persons: range, kind: str) -> Script:
    """It fails so for these persons, for ever."""
    return lambda ask: KINDS[kind]() if ask.person in persons else None


@pytest.mark.parametrize("kind", kinds(by_day=["401", "503", "silence", "wait"]))
def test_eight_persons_who_fail_for_ever(tmp_path: Path, kind: str) -> None:
    """They cost their own areas and less than a minute, wherever they stand, from night 1 on."""
    nights = Nights(tmp_path, MANY)
    for persons in (range(8), range(MANY - 8, MANY), range(50, MANY, 70)):
        outcome = nights.night(for_some(persons, kind))
        assert outcome.report is not None
        said = outcome.report.reasons
        assert (outcome.code, sum(outcome.report.failures.values())) == (3, 16), said
        assert nights.took_s < 60, said
    nights.stage.close()


@pytest.mark.parametrize("kind", kinds("long wait", by_day=(*BY_DAY, "nonce")))
def test_everybody_fails_and_nobody_was_ever_read(nights: Nights, kind: str) -> None:
    """The verdict comes at once, after few requests."""
    outcome = nights.night(for_everybody(kind))
    assert outcome.code == CODES.get(kind, 69)
    assert len(nights.asked) <= (100 if kind in ASKED_ONCE else 250)
    assert nights.took_s < 60


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("begins_s", [0.0, LATER_S], ids=["from the start", "later"])
def test_everybody_fails_although_others_were_read(
    nights: Nights, kind: str, begins_s: float
) -> None:
    """The verdict takes sync.patience, with one request in ten seconds, of nobody new."""
    assert nights.night().code == 0
    outcome = nights.night(for_everybody(kind, since_s=begins_s))
    failed = [ask for ask in nights.asked if ask.at_s >= begins_s]
    assert outcome.code == CODES.get(kind, 69)
    assert len(failed) <= 250
    at_first = [ask for ask in failed if ask.at_s <= begins_s + 60]
    assert len(at_first) <= (100 if kind in ASKED_ONCE else 250)
    patient = [ask for ask in failed if begins_s + 60 < ask.at_s < begins_s + PATIENCE_S - 30]
    assert 40 <= len(patient) <= 60
    assert all(later.at_s - sooner.at_s > 9.9 for sooner, later in pairwise(patient))
    known = {ask.person for ask in nights.asked if ask.at_s < begins_s + 60}
    assert {ask.person for ask in patient} <= known


@pytest.mark.parametrize("kind", kinds("wait"))
@pytest.mark.parametrize("begins_s", [0.0, LATER_S], ids=["from the start", "later"])
def test_an_outage_that_ends(nights: Nights, kind: str, begins_s: float) -> None:
    """Forty seconds of it cost as long and a little more, and nobody is lost."""
    assert nights.night().code == 0
    outcome = nights.night(for_everybody(kind, begins_s + 40, begins_s))
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons
    assert nights.took_s < 240
    assert "slower than configured" in outcome.report.reasons[-1]


def test_an_outage_when_all_others_were_read(nights: Nights) -> None:
    """One failure is enough then for a witness to be asked, and nobody is lost."""
    assert nights.night().code == 0
    began_s: list[float] = []

    def script(ask: Asked) -> Response | None:
        if len(nights.asked) >= 2 * PERSONS - 2 and not began_s:
            began_s.append(ask.at_s)
        return status(503) if began_s and ask.at_s < began_s[0] + 60 else None

    outcome = nights.night(script)
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons


def test_two_outages_in_a_row(nights: Nights) -> None:
    """A person who failed in one is asked afresh after it, and may fail in the next."""
    assert nights.night().code == 0
    good: list[Asked] = []

    def script(ask: Asked) -> Response | None:
        if ask.at_s < 40 or (good and ask.at_s < 90):
            return KINDS["shape"]()
        good.append(ask)
        return None

    outcome = nights.night(script)
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons


def test_who_fails_once(nights: Nights) -> None:
    """They are asked again when all others have been, for the area that failed alone."""
    asked: Counter[tuple[int, str]] = Counter()

    def script(ask: Asked) -> Response | None:
        asked[ask.person, ask.area] += 1
        is_first = asked[ask.person, ask.area] == 1
        fails = ask.person % 10 == 0 and ask.area == SAFETY and is_first
        return KINDS["shape"]() if fails else None

    assert nights.night(script).code == 0
    failed = PERSONS // 10
    assert len(asked) == 2 * PERSONS
    assert {of: asked[of] for of in asked if of[0] % 10 == 0} == {
        (person, area): 2 if area == SAFETY else 1
        for person in range(0, PERSONS, 10)
        for area in (SAFETY, PRIVACY)
    }
    last = nights.asked[-failed:]
    assert {(ask.person % 10, ask.area) for ask in last} == {(0, SAFETY)}


def test_more_fail_than_are_kept_for_another_try(tmp_path: Path) -> None:
    """The others are asked once: so many are no hiccup. Nobody is missing among failures."""
    nights = Nights(tmp_path, 2100, requests_per_second=1000.0)
    outcome = nights.night(lambda ask: status(400) if ask.person % 2 else None)
    nights.stage.close()
    assert outcome.report is not None
    assert outcome.report.failures == {"rejected": 2 * 1050}
    asked = Counter((ask.person, ask.area) for ask in nights.asked if ask.person % 2)
    assert Counter(asked.values()) == {1: 2 * 50, 2: 2 * 1000}


BEARER = '{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "scope": "nhn:pts/api"}'
HELSEID: dict[str, tuple[dict[str, Any], int]] = {
    "away": ({"area": "token", "action": "status", "status": 503}, 69),
    "behind a gateway": ({"area": "discovery", "action": "status", "status": 403}, 69),
    "refuses": ({"area": "token", "action": "status", "status": 200, "body": BEARER}, 77),
}


@pytest.mark.parametrize("fault", HELSEID)
def test_helseid_fails(nights: Nights, fault: str) -> None:
    """For ever on a first night: the verdict at once. Later: after sync.patience, if it stays."""
    kind, code = HELSEID[fault]
    assert nights.night(helseid=(kind, HOUR_S)).code == code
    assert (nights.asked, nights.took_s < 60) == ([], True)
    nights.stage.upstream.arm([])
    assert nights.night().code == 0
    asked = nights.stage.upstream.requests
    assert nights.night(helseid=(kind, HOUR_S)).code == code
    assert PATIENCE_S <= nights.took_s < PATIENCE_S + 60
    assert nights.stage.upstream.requests - asked < 80
    nights.stage.upstream.arm([])
    assert nights.night(helseid=(kind, 120.0)).code == 0
    assert nights.took_s < 180


def test_one_area_fails_for_everybody(nights: Nights) -> None:
    """It is given up and costs few requests; the other area is read."""
    assert nights.night().code == 0
    outcome = nights.night(lambda ask: status(404) if ask.area == SAFETY else None)
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (3, {"rejected": PERSONS})
    asked = Counter(ask.area for ask in nights.asked)
    assert asked[SAFETY] <= 250
    assert PERSONS <= asked[PRIVACY] <= PERSONS + PATIENCE_S / 10


def test_each_area_has_its_own_patience(nights: Nights) -> None:
    """One that hiccups while the other is given up is waited for, and so is HelseID meanwhile."""
    assert nights.night().code == 0

    def script(ask: Asked) -> Response | None:
        if ask.area == SAFETY:
            return status(404)
        return status(503) if 590 <= ask.at_s < 660 else None

    outcome = nights.night(script, helseid=(HELSEID["away"][0], 120.0))
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (3, {"rejected": PERSONS})


def test_witnesses_who_fail_when_they_are_asked_again(nights: Nights) -> None:
    """Two persons do not speak for PTS: others who were read are asked as well."""
    asked: Counter[tuple[int, str]] = Counter()
    spoilt: set[tuple[int, str]] = set()

    def script(ask: Asked) -> Response | None:
        key = (ask.person, ask.area)
        asked[key] += 1
        if ask.person >= PERSONS - 40:
            return status(403)
        if asked[key] > 1 and len(spoilt) < 2:
            spoilt.add(key)
        return status(403) if key in spoilt else None

    assert nights.night().code == 0
    outcome = nights.night(script)
    assert outcome.report is not None
    assert (len(spoilt), outcome.code, outcome.report.failures) == (2, 3, {"refused": 80})


def test_a_few_persons_who_are_rejected(tmp_path: Path) -> None:
    """In a small run each may be: that is no verdict about PTS, and needs no patience."""
    nights = Nights(tmp_path, 12)
    assert nights.night().code == 0
    outcome = nights.night(for_everybody("400"))
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (5, {"rejected": 24})
    assert nights.took_s < 60


def test_a_wait_delays_one_person_alone(nights: Nights) -> None:
    """A person to be asked in eight seconds is asked; one for 900 s is a failure at the end."""
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    for asked_s, code in ((8, 0), (900, 3)):
        first: list[Asked] = []

        def once(ask: Asked, asked_s: int = asked_s, first: list[Asked] = first) -> Response | None:
            if ask.person == 7 and ask.area == SAFETY and not first:
                first.append(ask)
                return wait(asked_s)
            return None

        assert nights.night(once).code == code
        assert nights.took_s < undisturbed_s + 10
        told_s = first[0].at_s
        own_s = [ask.at_s for ask in nights.asked if ask.person == 7]
        assert not [at_s for at_s in own_s if told_s < at_s < told_s + asked_s]


def hostile(seed: int) -> Script:
    """Forty minutes in which anything comes: each for some seconds, then a few good ones."""
    luck, state = random.Random(seed), {"until_s": 0.0, "kind": "good"}

    def script(ask: Asked) -> Response | None:
        if ask.at_s >= 40 * 60:
            return None
        if ask.at_s >= float(str(state["until_s"])):
            state["kind"] = luck.choice(("good", "401", "403", "503", "reset", "pause"))
            state["until_s"] = ask.at_s + luck.choice((1.0, 10.0, 60.0))
        match state["kind"]:
            case "good":
                return None
            case "pause":
                return wait(luck.choice((1, 20)), 503)
            case kind:
                return KINDS[str(kind)]() if luck.random() < 0.7 else None

    return script


@pytest.mark.promise("7")
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(2, 8))]
)
def test_forty_hostile_minutes(tmp_path: Path, seed: int) -> None:
    """No second has more than one request above the ceiling, and no need two tokens."""
    nights = Nights(tmp_path, 3000, requests_per_second=20.0)
    outcome = nights.night(hostile(seed))
    nights.stage.close()
    assert outcome.code in {0, 3}
    assert nights.took_s > 15 * 60
    assert nights.most_in_a_second <= 21
    accepted = {ask.token for ask in nights.asked if ask.is_good}
    began_s = {ask.token: ask.at_s for ask in reversed(nights.asked)}
    tokens = sorted(began_s, key=began_s.__getitem__)
    for refused, instead, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
        is_old = began_s[third] - began_s[instead] >= 60
        assert is_old or {refused, instead} & accepted, "what was got instead was replaced as well"


@pytest.mark.promise("7")
@pytest.mark.parametrize("what", ["a connection", "a token"])
def test_those_who_wait_for_the_same_take_turns(tmp_path: Path, what: str) -> None:
    """When connecting or HelseID stands still, they do not go all at once afterwards."""
    nights = Nights(tmp_path, 400, requests_per_second=20.0)
    assert nights.night().code == 0
    upstream = nights.stage.upstream

    def script(ask: Asked) -> Response | None:
        if not 30.0 <= ask.at_s < 31.0:
            return None
        if what == "a token":
            return status(401)
        upstream.opens_at_s = upstream.clock.elapsed_s + 8.0
        return KINDS["reset"]()

    slow = {"area": "token", "action": "slow", "slow_s": 8.0}
    outcome = nights.night(script, helseid=(slow, HOUR_S) if what == "a token" else None)
    nights.stage.close()
    assert outcome.code == 0
    assert max(later.at_s - sooner.at_s for sooner, later in pairwise(nights.asked)) > 5
    assert 15 < nights.most_in_a_second <= 21


def test_who_is_told_to_wait_for_longer_than_the_run(tmp_path: Path) -> None:
    """The first eight of six hundred say nothing of the others, who are all read."""
    nights = Nights(tmp_path, MANY, concurrency=4, requests_per_second=20.0)
    first: list[int] = []

    def script(ask: Asked) -> Response | None:
        if len(first) < 8 and ask.person not in first:
            first.append(ask.person)
        return wait(100_000, 503) if ask.person in first else None

    outcome = nights.night(script)
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (3, {"transient": 16})


def test_what_is_asked_for_as_long_as_the_pause_lasts(nights: Nights) -> None:
    """A start within a pause that ended a run meets it once more, and asks few."""
    assert nights.night().code == 0
    for begins_s in (LATER_S, 0.0):
        assert nights.night(for_everybody("long wait", since_s=begins_s)).code == 69
        assert sum(ask.at_s >= begins_s for ask in nights.asked) <= 60
    assert nights.night().code == 0
    assert nights.took_s < HOUR_S


def test_a_person_who_fails_for_ever_beside_a_pts_that_often_fails(tmp_path: Path) -> None:
    """It costs the person's own areas: no failure of others makes a run endless."""
    nights = Nights(tmp_path, 4)
    assert nights.night().code == 0
    turns: Counter[str] = Counter()

    def script(ask: Asked) -> Response | None:
        if ask.person == 0:
            return status(503)
        # The next one asked fails, too, but can be read on the second try.
        turns[ask.area] += 1
        return status(503) if turns[ask.area] > 3 and turns[ask.area] % 3 else None

    outcome = nights.night(script)
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (3, {"transient": 2})
    assert nights.took_s < HOUR_S
