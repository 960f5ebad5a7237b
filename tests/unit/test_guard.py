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


@pytest.mark.parametrize(
    "night",
    [
        pytest.param({}, id="nothing happens"),
        pytest.param({"removed": 10, "persons_affected": 8}, id="a tenth of many"),
        pytest.param(
            {"open_before": 3, "holders_before": 1, "removed": 1, "persons_affected": 1},
            id="one of three on a roster of one holder",
        ),
        pytest.param(
            {"open_before": 2, "holders_before": 2, "removed": 1, "persons_affected": 1},
            id="one of two persons",
        ),
        pytest.param(
            {"open_before": 10, "holders_before": 4, "removed": 5, "persons_affected": 1},
            id="all five of one person among four, half of ten",
        ),
        pytest.param(
            {"open_before": 157, "holders_before": 40, "removed": 78, "persons_affected": 3},
            id="those of three persons, just half of all",
        ),
        pytest.param(
            {"open_before": 8, "holders_before": 4, "removed": 4, "persons_affected": 4},
            id="half of eight, of everybody",
        ),
        pytest.param(
            {"doubtful_moves": 50, "persons_moved_in_doubt": 3}, id="three move, with half of all"
        ),
        pytest.param(
            {"doubtful_moves": 60, "persons_moved_in_doubt": 3, "is_subset": True},
            id="three move in a backfill",
        ),
        pytest.param({"persons_before": 5, "departing": 1}, id="one of five leaves"),
        pytest.param({"persons_before": 9, "departing": 2}, id="two of nine leave"),
        pytest.param({"persons_before": 2, "departing": 1}, id="one of two leaves"),
        pytest.param({"areas_attempted": 4, "areas_complete": 2}, id="half could be read"),
        pytest.param({"open_before": 0, "holders_before": 0, "persons_before": 0}, id="first run"),
    ],
)
def test_an_ordinary_night_passes(night):
    """Small numbers are no sign of anything, however large their share."""
    assert reasons_to_withhold(facts(**night), LIMITS) == ()


@pytest.mark.parametrize(
    "night",
    [
        pytest.param({"removed": 11, "persons_affected": 9}, id="more than a tenth"),
        pytest.param(
            {"open_before": 2, "holders_before": 1, "removed": 2, "persons_affected": 1},
            id="all of the only holder",
        ),
        pytest.param(
            {"open_before": 3, "holders_before": 3, "removed": 3, "persons_affected": 3},
            id="all of three",
        ),
        pytest.param(
            {"open_before": 8, "holders_before": 4, "removed": 5, "persons_affected": 2},
            id="five of eight, of two of four",
        ),
        pytest.param(
            {"open_before": 157, "holders_before": 40, "removed": 79, "persons_affected": 1},
            id="those of one person, more than half of all",
        ),
        pytest.param({"persons_before": 7, "departing": 2}, id="two of seven leave"),
        pytest.param({"persons_before": 10, "departing": 5}, id="the roster is cut in half"),
        pytest.param({"persons_before": 4, "departing": 2}, id="a small roster is cut in half"),
        pytest.param({"departing": 21}, id="more than a tenth leaves"),
        pytest.param({"areas_attempted": 10, "areas_complete": 4}, id="too little was read"),
        pytest.param(
            {"doubtful_moves": 51, "persons_moved_in_doubt": 3},
            id="three move, with more than half of all",
        ),
    ],
)
def test_too_good_to_be_true_is_withheld(night):
    """Whatever a broken PTS or a cut roster looks like is held back."""
    assert reasons_to_withhold(facts(**night), LIMITS)


def test_every_reason_has_its_figures():
    """The message of a withheld run says what it would change, and out of how much."""
    night = facts(removed=50, persons_affected=40, departing=70, areas_complete=100)
    removals, departures, gaps = reasons_to_withhold(night, LIMITS)
    assert "50 of 100 open restrictions of 40 persons" in removals
    assert "70 of 200 persons" in departures
    assert "100 of 400 person-areas" in gaps


@given(
    restrictions=st.integers(1, 10_000),
    data=st.data(),
)
def test_empty_answers_for_everybody_are_always_withheld(restrictions, data):
    """However many restrictions and holders there are, closing all of them is withheld."""
    holders = data.draw(st.integers(1, restrictions))
    everything = facts(
        open_before=restrictions,
        holders_before=holders,
        removed=restrictions,
        persons_affected=holders,
    )
    assert reasons_to_withhold(everything, LIMITS)


@given(
    open_before=st.integers(0, 5000),
    removed=st.integers(0, 5000),
    affected=st.integers(0, 5000),
)
def test_an_early_stop_is_never_a_run_that_would_pass(open_before, removed, affected):
    """What stops early would be withheld at the end, too."""
    night = facts(
        open_before=open_before,
        holders_before=open_before,
        removed=removed,
        persons_affected=affected,
    )
    if stops_early(night, LIMITS):
        assert reasons_to_withhold(night, LIMITS)


def test_a_backfill_may_read_little():
    """It is made for those who could not be read: the few who can be now are published."""
    assert reasons_to_withhold(facts(areas_attempted=12, areas_complete=2), LIMITS)
    few = facts(areas_attempted=12, areas_complete=2, is_subset=True)
    assert reasons_to_withhold(few, LIMITS) == ()


def test_a_person_may_accept_removals_but_not_gaps():
    """``--accept-removals`` decides about removals; what could not be read stays too little."""
    accepted = GuardLimits(max_removed_share=0.1, min_completeness=0.5, accept_removals=True)
    assert reasons_to_withhold(facts(removed=100, persons_affected=60), accepted) == ()
    assert not stops_early(facts(removed=100, persons_affected=60), accepted)
    assert reasons_to_withhold(facts(areas_complete=1), accepted)


def test_a_backfill_of_one_person_may_close_what_that_person_has():
    """A backfill's base is a choice: all of one person's restrictions are no sign of a fault."""
    one = facts(open_before=4, holders_before=1, removed=4, persons_affected=1, is_subset=True)
    assert reasons_to_withhold(one, LIMITS) == ()
    some = facts(open_before=40, holders_before=4, removed=40, persons_affected=3, is_subset=True)
    assert reasons_to_withhold(some, LIMITS) == ()
    few = facts(open_before=8, holders_before=8, removed=5, persons_affected=4, is_subset=True)
    assert reasons_to_withhold(few, LIMITS) == ()
    many = facts(open_before=40, holders_before=30, removed=40, persons_affected=30, is_subset=True)
    assert reasons_to_withhold(many, LIMITS)
    assert not stops_early(many, LIMITS)


@pytest.mark.parametrize(("removed", "stops"), [(11, False), (30, False), (31, True)])
def test_reading_stops_only_well_beyond_the_limit(removed, stops):
    """A removal may yet turn out to be a move: twice the limit and ten more decide early."""
    assert stops == stops_early(facts(removed=removed, persons_affected=removed), LIMITS)


@pytest.mark.parametrize(
    ("open_before", "removed", "affected", "withheld"),
    [
        (10, 10, 10, True),
        (10, 6, 4, True),
        (10, 5, 5, False),
        (10, 10, 3, True),
        (10, 10, 1, False),
        (5, 5, 5, True),
        (2, 2, 2, True),
        (5, 4, 4, False),
        (100, 10, 10, False),
        (100, 11, 11, True),
    ],
)
def test_one_area_is_not_hidden_by_another(open_before, removed, affected, withheld):
    """A small area that PTS answers empty is withheld, though it is little of the whole."""
    area = AreaFacts(
        area="patient-privacy", open_before=open_before, removed=removed, persons_affected=affected
    )
    night = facts(
        open_before=190,
        holders_before=20,
        removed=removed,
        persons_affected=affected,
        areas=(area,),
    )
    assert withheld == bool(reasons_to_withhold(night, LIMITS))


def test_only_removals_can_be_accepted():
    """Where too little was read, nobody is led to accept removals."""
    removals = reasons_to_withhold(facts(removed=90, persons_affected=50), LIMITS)
    assert "--accept-removals" in advice(removals)
    too_little = reasons_to_withhold(facts(areas_complete=1), LIMITS)
    assert "doctor --probe" in advice(too_little)
    assert "--accept-removals" not in advice(too_little)
    both = (*removals, *too_little)
    assert "--accept-removals" not in advice(both)
