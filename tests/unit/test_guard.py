"""The guard: what is withheld, and which nights are ordinary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.guard import (
    AreaFacts,
    GuardFacts,
    GuardLimits,
    advice,
    reasons_to_withhold,
    stops_early,
)

pytestmark = pytest.mark.promise("5")

LIMITS = GuardLimits(max_removed_share=0.10, min_completeness=0.50)


def facts(**values) -> GuardFacts:
    base = {
        "open_before": 100,
        "holders_before": 60,
        "persons_before": 200,
        "removed": 0,
        "persons_affected": 0,
        "departing": 0,
        "areas_attempted": 400,
        "areas_complete": 400,
    }
    return GuardFacts(**{**base, **values})


def removals(open_before: int, holders: int, removed: int, affected: int, **more) -> GuardFacts:
    """A night that closes restrictions of so many persons."""
    return facts(
        open_before=open_before,
        holders_before=holders,
        removed=removed,
        persons_affected=affected,
        **more,
    )


@pytest.mark.parametrize(
    "night",
    [
        pytest.param(facts(), id="nothing happens"),
        pytest.param(removals(100, 60, 10, 8), id="a tenth of many"),
        pytest.param(removals(3, 1, 1, 1), id="one of three on a roster of one holder"),
        pytest.param(removals(2, 2, 1, 1), id="one of two persons"),
        pytest.param(removals(10, 4, 5, 1), id="all five of one person, half of ten"),
        pytest.param(removals(156, 40, 78, 3), id="those of three persons, just half of all"),
        pytest.param(removals(8, 4, 4, 4), id="half of eight, of everybody"),
        pytest.param(facts(persons_before=9, departing=2), id="two of nine leave"),
        pytest.param(facts(persons_before=2, departing=1), id="one of two leaves"),
        pytest.param(facts(areas_attempted=4, areas_complete=2), id="half could be read"),
        pytest.param(removals(0, 0, 0, 0, persons_before=0), id="first run"),
        pytest.param(
            facts(areas_attempted=12, areas_complete=2, is_subset=True),
            id="a backfill of those who could not be read",
        ),
        pytest.param(removals(4, 1, 4, 1, is_subset=True), id="a backfill closes all of one"),
        pytest.param(removals(40, 4, 40, 3, is_subset=True), id="a backfill closes those of three"),
    ],
)
def test_an_ordinary_night_passes(night):
    """Small numbers are no sign of anything, however large their share."""
    assert reasons_to_withhold(night, LIMITS) == ()


@pytest.mark.parametrize(
    "night",
    [
        pytest.param(removals(100, 60, 11, 9), id="more than a tenth"),
        pytest.param(removals(2, 1, 2, 1), id="all of the only holder"),
        pytest.param(removals(3, 3, 3, 3), id="all of three"),
        pytest.param(removals(8, 4, 5, 2), id="five of eight, of two of four"),
        pytest.param(removals(157, 40, 79, 1), id="those of one person, more than half of all"),
        pytest.param(facts(persons_before=7, departing=2), id="two of seven leave"),
        pytest.param(facts(persons_before=4, departing=2), id="a small roster is cut in half"),
        pytest.param(facts(departing=21), id="more than a tenth leaves"),
        pytest.param(facts(areas_attempted=10, areas_complete=4), id="too little was read"),
        pytest.param(removals(40, 30, 40, 30, is_subset=True), id="a backfill closes all of many"),
    ],
)
def test_too_good_to_be_true_is_withheld(night):
    """Whatever a broken PTS or a cut roster looks like is held back."""
    assert reasons_to_withhold(night, LIMITS)


def test_every_reason_has_its_figures():
    """The message of a withheld run says what it would change, and out of how much."""
    night = facts(removed=50, persons_affected=40, departing=70, areas_complete=100)
    closing, departures, gaps = reasons_to_withhold(night, LIMITS)
    assert "50 of 100 open restrictions of 40 persons" in closing
    assert "70 of 200 persons" in departures
    assert "100 of 400 person-areas" in gaps


@given(restrictions=st.integers(1, 10_000), data=st.data())
def test_empty_answers_for_everybody_are_always_withheld(restrictions, data):
    """However many restrictions and holders there are, closing all of them is withheld."""
    holders = data.draw(st.integers(1, restrictions))
    assert reasons_to_withhold(removals(restrictions, holders, restrictions, holders), LIMITS)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_an_early_stop_is_never_a_run_that_would_pass(open_before, removed, affected):
    """What stops early would be withheld at the end, too."""
    night = removals(open_before, open_before, removed, affected)
    if stops_early(night, LIMITS):
        assert reasons_to_withhold(night, LIMITS)


@pytest.mark.parametrize(("removed", "stops"), [(11, False), (30, False), (31, True)])
def test_reading_stops_only_well_beyond_the_limit(removed, stops):
    """A second read may yet contradict a removal: twice the limit and ten more decide early."""
    assert stops_early(removals(100, 60, removed, removed), LIMITS) == stops
    assert not stops_early(removals(100, 60, removed, removed, is_subset=True), LIMITS)


@pytest.mark.parametrize(
    ("open_before", "removed", "affected", "withheld"),
    [
        (10, 10, 10, True),
        (10, 6, 4, True),
        (10, 5, 5, False),
        (10, 10, 1, False),
        (5, 5, 5, True),
        (5, 4, 4, False),
        (100, 11, 11, True),
    ],
)
def test_one_area_is_not_hidden_by_another(open_before, removed, affected, withheld):
    """A small area that PTS answers empty is withheld, though it is little of the whole."""
    area = AreaFacts(
        area="patient-privacy", open_before=open_before, removed=removed, persons_affected=affected
    )
    night = removals(190, 20, removed, affected, areas=(area,))
    assert bool(reasons_to_withhold(night, LIMITS)) == withheld


def test_a_person_may_accept_removals_but_not_gaps():
    """``--accept-removals`` decides about removals; nobody is led to it where little was read."""
    accepted = GuardLimits(max_removed_share=0.1, min_completeness=0.5, accept_removals=True)
    everything = removals(100, 60, 100, 60)
    assert reasons_to_withhold(everything, accepted) == ()
    assert not stops_early(everything, accepted)
    too_little = reasons_to_withhold(facts(areas_complete=1), accepted)
    closing = reasons_to_withhold(everything, LIMITS)
    assert "--accept-removals" in advice(closing)
    assert "doctor --probe" in advice(too_little)
    assert "--accept-removals" not in advice((*closing, *too_little))
