"""Outages, and persons who always fail: each row of the table in docs/operations.md.

In virtual time: everything but sockets and clocks is the real program.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.politeness.night import HOUR_S, KINDS, Asked, Nights, Script, status, wait
from worker import app
from worker.config.contract_file import load_contract
from worker.core.model import RunKind
from worker.sandbox.people import SAFETY
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


@pytest.mark.parametrize("kind", kinds(by_day=["401", "reset", "silence"]))
def test_eight_persons_who_fail_for_ever(tmp_path: Path, kind: str) -> None:
    """They cost their own areas and little time, wherever they stand, from night 1 on.

    Several persons who are refused with 503 look like a limit of PTS, which is obeyed.
    """
    nights = Nights(tmp_path, MANY)
    for persons in (range(8), range(MANY - 8, MANY), range(50, MANY, 70)):
        outcome = nights.night(for_some(persons, kind))
        assert outcome.report is not None
        said = outcome.report.reasons
        assert (outcome.code, sum(outcome.report.failures.values())) == (3, 16), said
        assert nights.took_s < (300 if kind == "503" else 120), said
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
    assert len(failed) <= 300
    at_first = [ask for ask in failed if ask.at_s <= begins_s + 60]
    assert len(at_first) <= (100 if kind in ASKED_ONCE else 250)
    patient = [ask for ask in failed if begins_s + 60 < ask.at_s < begins_s + PATIENCE_S - 30]
    assert 40 <= len(patient) <= 65
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
    assert outcome.code in {0, 3, 5}  # of a first night nearly all must be read
    assert nights.took_s > 14 * 60
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


# --- the table: outages ---


def test_two_seconds_without_answers(nights: Nights) -> None:
    """Nothing is lost, in seconds."""
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    assert nights.night(for_everybody("reset", 3.0, LATER_S)).code == 0
    assert nights.took_s < undisturbed_s + 30


def test_a_run_that_starts_in_an_outage(nights: Nights) -> None:
    """When PTS is back, the rate is the ceiling: 503 for everyone shows no rate limit."""
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    assert nights.night(for_everybody("503", 60.0, 0.0)).code == 0
    assert nights.took_s < undisturbed_s + 60 + 30


@pytest.mark.parametrize("pass_number", [1, 2])
def test_two_minutes_without_answers(nights: Nights, pass_number: int) -> None:
    """Few requests meanwhile, and everyone is read, in the first pass and in the second alike."""
    assert nights.night().code == 0
    for off_id in [*nights.stage.upstream.truth][:12]:
        nights.stage.upstream.truth[off_id][SAFETY] = {}
    began_s: list[float] = []

    def script(ask: Asked) -> Response | None:
        if len(nights.asked) >= (100 if pass_number == 1 else 2 * PERSONS) and not began_s:
            began_s.append(ask.at_s)
        return KINDS["reset"]() if began_s and ask.at_s < began_s[0] + 120 else None

    outcome = nights.night(script)
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons
    assert outcome.report.totals["rows_closed"] == 12
    assert sum(not ask.is_good for ask in nights.asked) <= 100 + 2 * 16
    assert "the circuit breaker was open for 1" in outcome.report.reasons[-1]


@pytest.mark.parametrize(("persons", "since_s"), [(PERSONS, 0.4), (12, 0.3)])
def test_a_night_without_answers(tmp_path: Path, persons: int, since_s: float) -> None:
    """69 after `sync.patience`, also for a clinic of 12 persons; the next start continues."""
    nights = Nights(tmp_path, persons)
    assert nights.night().code == 0
    outcome = nights.night(for_everybody("reset", since_s=since_s))
    assert outcome.code == 69
    assert PATIENCE_S <= nights.took_s < PATIENCE_S + 60
    read = {(ask.person, ask.area) for ask in nights.asked if ask.is_good}
    assert nights.night().code == 0
    nights.stage.close()
    assert read
    assert not read & {(ask.person, ask.area) for ask in nights.asked}


def test_two_seconds_of_503(tmp_path: Path) -> None:
    """They are no rate limit: the night takes seconds longer, although 503 halves the rate."""
    nights = Nights(tmp_path, MANY)
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    assert nights.night(for_everybody("503", 3.0, LATER_S)).code == 0
    nights.stage.close()
    assert nights.took_s < undisturbed_s + 45


# --- the table: persons who always fail ---


def test_one_percent_always_fail(tmp_path: Path) -> None:
    """Each of their areas is asked at most three times, and nobody waits for them."""
    nights = Nights(tmp_path, 3_000, requests_per_second=1_000.0)
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    outcome = nights.night(lambda ask: status(404) if ask.person % 100 == 7 else None)
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (3, {"rejected": 60})
    asked = Counter((ask.person, ask.area) for ask in nights.asked if ask.person % 100 == 7)
    assert max(asked.values()) <= 3
    assert nights.took_s < undisturbed_s + 30


@pytest.mark.parametrize("kind", ["404", pytest.param("500", marks=pytest.mark.nightly)])
def test_a_block_that_always_fails(tmp_path: Path, kind: str) -> None:
    """The canary closes the breaker each time, and the night takes little longer.

    The first of them are retried after 500, for some seconds whatever the size of the roster.
    """
    nights = Nights(tmp_path, 1_500, confirm_after=timedelta(0))
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    outcome = nights.night(for_some(range(1_320, 1_500), kind))
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, sum(outcome.report.failures.values())) == (3, 360)
    assert nights.took_s < 1.3 * undisturbed_s + (30 if kind == "500" else 0)


def test_who_fails_once(nights: Nights) -> None:
    """They are read in the second pass, for the area that failed alone."""
    asked: Counter[tuple[int, str]] = Counter()

    def script(ask: Asked) -> Response | None:
        asked[ask.person, ask.area] += 1
        is_first = asked[ask.person, ask.area] == 1
        return status(404) if ask.person % 10 == 0 and ask.area == SAFETY and is_first else None

    assert nights.night(script).code == 0
    again = {key for key, count in asked.items() if count > 1}
    assert again == {(person, SAFETY) for person in range(0, PERSONS, 10)}


def test_few_persons_who_are_rejected(tmp_path: Path) -> None:
    """In a small run each may be: that is no verdict about PTS, and needs no patience."""
    nights = Nights(tmp_path, 12)
    assert nights.night().code == 0
    outcome = nights.night(for_everybody("400"))
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (5, {"rejected": 24})
    assert nights.took_s < 60


# --- the table: persons who hold restrictions ---


def test_500_for_everyone_who_holds_a_restriction(tmp_path: Path) -> None:
    """Withheld: the others' empty answers do not make the run complete."""
    nights = Nights(tmp_path, 300, holders=40)
    assert nights.night().code == 0
    outcome = nights.night(for_some(range(0, 300, 300 // 40), "500"))
    nights.stage.close()
    assert outcome.report is not None
    assert outcome.code == 5
    assert "persons with a restriction in patient-safety" in outcome.report.reasons[0]


@pytest.mark.parametrize("holders", [60, 10])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_renamed_required_field(tmp_path: Path, holders: int, *, is_first: bool) -> None:
    """65, although most persons, who hold nothing, are read completely; at once on a first run."""
    nights = Nights(tmp_path, 300, holders=holders)
    assert is_first or nights.night().code == 0
    outcome = nights.night(for_some(range(0, 300, 300 // holders), "shape"))
    nights.stage.close()
    assert outcome.code == 65
    assert nights.took_s < 60 if is_first else PATIENCE_S <= nights.took_s < PATIENCE_S + 120


# --- the table: one area ---


@pytest.mark.parametrize(("code", "kind"), [(404, "rejected"), (403, "refused")])
def test_one_area_refuses_everyone(tmp_path: Path, code: int, kind: str) -> None:
    """The other is read at full speed meanwhile. Only a refusal suggests to leave the area out."""
    nights = Nights(tmp_path, 300, requests_per_second=5.0)
    assert nights.night().code == 0
    undisturbed_s = nights.took_s
    outcome = nights.night(lambda ask: status(code) if ask.area == SAFETY else None)
    nights.stage.close()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.failures) == (3, {kind: 300})
    assert ("sync.areas" in " ".join(outcome.report.reasons)) == (kind == "refused")
    assert max(ask.at_s for ask in nights.asked if ask.is_good) < undisturbed_s
    assert sum(ask.area == SAFETY for ask in nights.asked) <= 250


# --- Retry-After ---


def test_a_short_pause_for_everyone(nights: Nights) -> None:
    """Everyone waits for as long as PTS asks, and is read then."""
    assert nights.night().code == 0
    outcome = nights.night(lambda ask: wait(120, 503) if 1 <= ask.at_s < 2 else None)
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons
    assert not [ask for ask in nights.asked if 5 < ask.at_s < 120]


def test_a_long_pause_that_is_over_soon(tmp_path: Path) -> None:
    """A `Retry-After` of an hour is not obeyed by probes: reads go on as soon as PTS is well."""
    nights = Nights(tmp_path, 60)
    assert nights.night().code == 0
    outcome = nights.night(lambda ask: wait(3600, 503) if ask.at_s < 45 else None)
    nights.stage.close()
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons
    assert min(ask.at_s for ask in nights.asked if ask.is_good) < 60


@pytest.mark.parametrize("persons", [1, 2, 12])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_pause_of_a_few_persons(tmp_path: Path, persons: int, *, is_first: bool) -> None:
    """No other person can be read meanwhile: the run waits, and asks nobody before the time."""
    nights = Nights(tmp_path, persons)
    assert is_first or nights.night().code == 0
    outcome = nights.night(lambda ask: wait(120, 503) if ask.at_s < 115 else None)
    nights.stage.close()
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons
    assert not [ask for ask in nights.asked if 5 < ask.at_s < 120]


def test_a_wait_in_one_area_does_not_delay_the_probes_of_the_other(tmp_path: Path) -> None:
    """They go on every ten seconds."""
    nights = Nights(tmp_path, 2)
    assert nights.night().code == 0
    outcome = nights.night(
        lambda ask: (
            (wait(500, 503) if ask.area == SAFETY else status(500)) if ask.at_s < 200 else None
        )
    )
    nights.stage.close()
    assert outcome.report is not None
    assert outcome.code == 0, outcome.report.reasons
    other = [ask.at_s for ask in nights.asked if ask.area != SAFETY and 60 < ask.at_s < 200]
    assert max(later - sooner for sooner, later in pairwise(other)) < 21
    assert not [ask for ask in nights.asked if ask.area == SAFETY and 60 < ask.at_s < 500]


def test_short_pauses_without_end(nights: Nights) -> None:
    """Together they are longer than `sync.retry_after_max`: then PTS is away."""
    assert nights.night().code == 0
    assert nights.night(for_everybody("wait")).code == 69
    assert 880 + PATIENCE_S <= nights.took_s < 2 * HOUR_S  # 22 pauses of 40 s, then patience


def test_a_wait_delays_one_person_in_one_area(nights: Nights) -> None:
    """A person to be asked in eight seconds is asked; one for 900 s is a failure in that area."""
    assert nights.night().code == 0
    for asked_s, failures in ((8, {}), (900, {"transient": 1})):
        first: list[Asked] = []

        def once(ask: Asked, asked_s: int = asked_s, first: list[Asked] = first) -> Response | None:
            if ask.person == 7 and ask.area == SAFETY and not first:
                first.append(ask)
                return wait(asked_s)
            return None

        outcome = nights.night(once)
        assert outcome.report is not None
        assert outcome.report.failures == failures
        told_s = first[0].at_s
        asked = [ask for ask in nights.asked if ask.person == 7 and ask.area == SAFETY]
        assert not [ask for ask in asked if told_s < ask.at_s < told_s + asked_s]


@pytest.mark.promise("7")
def test_refusals_in_the_second_pass(tmp_path: Path) -> None:
    """429 of persons who are asked again slow the pace, too."""
    nights = Nights(tmp_path, 300)
    assert nights.night().code == 0
    asked: Counter[tuple[int, str]] = Counter()

    def script(ask: Asked) -> Response | None:
        asked[ask.person, ask.area] += 1
        if asked[ask.person, ask.area] == 1:
            return status(404) if ask.person % 2 else None
        return status(429) if asked[ask.person, ask.area] == 2 else None

    outcome = nights.night(script)
    nights.stage.close()
    assert outcome.report is not None
    assert "PTS refused requests (429 or 503), down to" in outcome.report.reasons[-1]


@pytest.mark.parametrize("kind", ["reset", "silence", "403", "wait", "long wait"])
def test_a_stop_in_an_outage(nights: Nights, kind: str) -> None:
    """Whatever the run waits for, it ends within ten seconds, and the next start continues."""
    assert nights.night().code == 0
    outcome = nights.night(for_everybody(kind, since_s=0.5), stop_at_s=47.0)
    assert (outcome.code, nights.took_s < 57) == (75, True)
    outcome = nights.night()
    assert outcome.report is not None
    assert (outcome.code, outcome.report.is_continued) == (0, True)


@pytest.mark.promise("12")
def test_the_contract_is_read_once(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit during a run cannot leave the fingerprint of another contract."""
    read: list[object] = []

    def load(path: Path | None) -> object:
        read.append(path)
        return load_contract(path)

    monkeypatch.setattr(app, "load_contract", load)
    assert nights.night().code == 0
    assert len(read) == 1


# --- persons who are no canary ---


def test_a_duplicate_line_of_a_person_who_failed(tmp_path: Path) -> None:
    """A small run that reads nobody has no canary, however often the roster names them."""
    nights = Nights(tmp_path, 6)
    assert nights.night().code == 0
    nights.stage.roster *= 3
    outcome = nights.night(for_everybody("400"))
    nights.stage.close()
    assert (outcome.code, nights.took_s < 60) == (5, True)


def test_a_backfill_that_ends_with_a_verdict(nights: Nights) -> None:
    """Persons whom it does not choose are no canaries, and it says that nobody else was asked."""
    few = range(5)
    assert nights.night(for_some(few, "404")).code == 3
    outcome = nights.night(for_some(few, "reset"), kind=RunKind.BACKFILL, failed=True)
    assert outcome.report is not None
    assert (outcome.code, {ask.person for ask in nights.asked}) == (69, {*few})
    assert "this backfill requested only 5 persons" in outcome.report.reasons
    assert nights.took_s >= PATIENCE_S


def test_the_reason_of_a_person_who_is_not_asked_again(tmp_path: Path) -> None:
    """It stays that of their own answer where the area is given up in a later pass."""
    nights = Nights(tmp_path, 300, concurrency=2)

    def script(ask: Asked) -> Response | None:
        is_down, is_refused = ask.at_s > 20.0, ask.person % 5 == 0
        if ask.area != SAFETY or not (is_down or is_refused):
            return None
        return KINDS["503" if is_down else "400"]()

    outcome = nights.night(script)
    nights.stage.close()
    assert outcome.report is not None
    assert outcome.report.failures["rejected"] > 20
