"""The guard: what is withheld, and which nights are ordinary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from worker.core.guard import GuardLimits, judge, warnings
from worker.core.guard_facts import AreaFacts, GuardFacts

pytestmark = pytest.mark.promise("5")

LIMITS = GuardLimits(max_removed_share=0.10, min_completeness=0.50)


def facts(*, attempted: int = 400, complete: int = 400, **values) -> GuardFacts:
    """A night, with the reads of one area."""
    base = {
        "open_before": 100,
        "holders_before": 60,
        "persons_before": 200,
        "areas": (
            AreaFacts(area="patient-safety", attempted=attempted, complete=complete, records=1),
        ),
    }
    return GuardFacts(**{**base, **values})


def reasons_to_withhold(night: GuardFacts, limits: GuardLimits) -> tuple[str, ...]:
    return judge(night, limits).reasons


def removals(open_before: int, holders: int, removed: int, affected: int, **more) -> GuardFacts:
    """A night that closes restrictions of so many persons."""
    return facts(
        open_before=open_before,
        holders_before=holders,
        removed=removed,
        persons_affected=affected,
        **more,
    )


def of_holders(holders: int, complete: int) -> GuardFacts:
    """A night that reads nearly everybody, and so many of those with a restriction."""
    area = AreaFacts(area="patient-safety", attempted=400, complete=380, records=1)
    return facts(areas=(structs.replace(area, holders=holders, holders_complete=complete),))


def of_area(open_before: int, persons: int) -> GuardFacts:
    """A night that closes all that an area has, which is little of the whole."""
    area = AreaFacts(
        area="patient-privacy",
        attempted=200,
        complete=200,
        records=1,
        open_before=open_before,
        removed=open_before,
        persons_affected=persons,
    )
    return removals(100, 60, open_before, persons, areas=(area,))


@pytest.mark.parametrize(
    "night",
    [
        pytest.param(facts(), id="nothing happens"),
        pytest.param(removals(100, 60, 10, 8), id="a tenth of many"),
        pytest.param(removals(3, 1, 1, 1), id="one of three on a roster of one holder"),
        pytest.param(removals(2, 2, 1, 1), id="one of two persons"),
        pytest.param(of_area(2, 1), id="all of an area, of one person"),
        pytest.param(removals(10, 4, 5, 1), id="all five of one person, half of ten"),
        pytest.param(removals(156, 40, 78, 3), id="those of three persons, just half of all"),
        pytest.param(removals(8, 4, 4, 4), id="half of eight, of everybody"),
        pytest.param(facts(persons_before=9, missing=2), id="two of nine are missing"),
        pytest.param(facts(persons_before=2, missing=1), id="one of two is missing"),
        pytest.param(facts(attempted=4, complete=2), id="half could be read"),
        pytest.param(removals(0, 0, 0, 0, persons_before=0), id="first run"),
        pytest.param(of_holders(20, 10), id="half of those with a restriction could be read"),
        pytest.param(of_holders(19, 0), id="few have a restriction, and none could be read"),
        pytest.param(
            facts(attempted=12, complete=2, is_subset=True),
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
        pytest.param(of_area(2, 2), id="all of an area, of two persons"),
        pytest.param(of_area(3, 3), id="all of an area, of three persons"),
        pytest.param(removals(8, 4, 5, 2), id="five of eight, of two of four"),
        pytest.param(removals(40, 4, 6, 3), id="six of forty, of three of four"),
        pytest.param(removals(157, 40, 79, 1), id="those of one person, more than half of all"),
        pytest.param(facts(persons_before=7, missing=2), id="two of seven are missing"),
        pytest.param(facts(persons_before=4, missing=2), id="a small roster is cut in half"),
        pytest.param(facts(missing=21), id="more than a tenth is missing"),
        pytest.param(facts(attempted=10, complete=4), id="too little was read"),
        pytest.param(of_holders(20, 9), id="too few of those with a restriction were read"),
        pytest.param(removals(40, 30, 40, 30, is_subset=True), id="a backfill closes all of many"),
    ],
)
def test_too_good_to_be_true_is_withheld(night):
    """Whatever a broken PTS or a cut roster looks like is held back."""
    assert reasons_to_withhold(night, LIMITS)


@given(restrictions=st.integers(1, 10_000), data=st.data())
def test_empty_answers_for_everybody_are_always_withheld(restrictions, data):
    """However many restrictions and holders there are, closing all of them is withheld."""
    holders = data.draw(st.integers(1, restrictions))
    assert reasons_to_withhold(removals(restrictions, holders, restrictions, holders), LIMITS)


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


def test_a_person_accepts_what_was_counted_and_a_tenth_more():
    """Not everything; not what was not read; and nobody is led to it where little was read."""
    night = removals(100, 60, 50, 40)
    closing, too_little = judge(night, LIMITS), judge(facts(complete=1), LIMITS)
    assert "--accept-removals" in closing.hint
    assert "doctor --probe" in too_little.hint
    unreadable = judge(facts(complete=100, roster_faults=250), LIMITS)
    assert "correct the roster" in unreadable.hint
    for bad_lines, remedy in ((26, "correct the roster first"), (25, "--accept-removals")):
        assert remedy in judge(facts(missing=50, roster_faults=bad_lines), LIMITS).hint
    one_line = judge(facts(removed=50, persons_affected=40, roster_faults=1), LIMITS)
    assert "--accept-removals" in one_line.hint
    assert "doctor --probe" in judge(facts(complete=100, roster_faults=50), LIMITS).hint
    both = judge(facts(removed=50, persons_affected=40, complete=1), LIMITS)
    assert "--accept-removals" not in both.hint
    accepted = structs.replace(LIMITS, accepted=night)
    for removed, is_withheld in ((50, False), (55, False), (56, True), (100, True)):
        later = removals(100, 60, removed, 40)
        assert bool(reasons_to_withhold(later, accepted)) == is_withheld
    assert reasons_to_withhold(facts(missing=70), accepted)
    gone = structs.replace(LIMITS, accepted=facts(missing=50, lost=50, persons_losing=40))
    assert reasons_to_withhold(facts(missing=55), gone) == ()
    assert reasons_to_withhold(night, gone)  # accepted persons or values are no closings
    assert reasons_to_withhold(facts(departing=70), LIMITS) == ()  # accepted when they were missing
    assert reasons_to_withhold(facts(complete=1), accepted)


def test_values_that_are_lost_are_as_bad_as_closings():
    """PTS renames a field: every code is empty the next morning, and no restriction is gone."""
    assert reasons_to_withhold(facts(lost=10, persons_losing=8), LIMITS) == ()
    (reason,) = reasons_to_withhold(facts(lost=100, persons_losing=60), LIMITS)
    assert "100 of 100 open restrictions of 60 persons would lose a value" in reason
    small = AreaFacts(
        area="patient-privacy", open_before=5, lost=5, persons_losing=5, attempted=9, complete=9
    )
    assert reasons_to_withhold(facts(lost=5, persons_losing=5, areas=(small,)), LIMITS)


def area(name: str, *, complete: int, records: int = 1) -> AreaFacts:
    return AreaFacts(area=name, attempted=100, complete=complete, records=records)


def test_the_reason_names_areas_and_numbers():
    """It gives the numbers for each area, so that people know where to look."""
    areas = (
        AreaFacts(area="patient-safety", removed=30, attempted=100, complete=40, records=1),
        AreaFacts(area="patient-privacy", removed=10, attempted=100, complete=0),
    )
    closing, unread = reasons_to_withhold(removals(100, 60, 40, 30, areas=areas), LIMITS)
    assert "would close: 30 in patient-safety, 10 in patient-privacy (sync.max_" in closing
    assert "could be read: 40 of 100 in patient-safety, 0 of 100 in patient-privacy (20%" in unread


@pytest.mark.parametrize(
    ("missing", "closed", "words", "checks"),
    [
        (0, 40, "of 30 persons would close (", "check PTS and the contract;"),
        (40, 0, "belong to persons missing from the roster (", "check the roster (`pts-worker do"),
        (
            20,
            30,
            "would close (30) or belong to persons missing from the roster (20)",
            "check the roster (`pts-worker doctor` counts its persons) and PTS and the contract;",
        ),
    ],
)
def test_a_withheld_run_names_its_own_cause(missing, closed, words, checks):
    """Reads of PTS, a roster without some persons, or both; the hint says where to look."""
    removed = missing + closed
    night = removals(100, 60, removed, 30, removed_with_missing=missing, missing=missing)
    verdict = judge(night, structs.replace(LIMITS, max_removed_share=0.05))
    assert words in verdict.reasons[0]
    assert verdict.hint.startswith(checks)
    below = structs.replace(night, missing=0)
    (warning,) = warnings(below, structs.replace(LIMITS, max_removed_share=1))
    assert warning.count(" belong to ") == bool(missing)
    assert warning.count(" were closed") == bool(closed)


def test_completeness_is_judged_for_each_area():
    """An area that fails for everybody is a warning; only if all are thin the run is withheld."""
    night = facts(areas=(area("patient-safety", complete=100), area("patient-privacy", complete=0)))
    assert reasons_to_withhold(night, LIMITS) == ()
    assert any(
        "no person could be read in patient-privacy" in text for text in warnings(night, LIMITS)
    )
    thin = facts(areas=(area("patient-safety", complete=49), area("patient-privacy", complete=0)))
    assert reasons_to_withhold(thin, LIMITS)


@pytest.mark.parametrize(("complete", "is_withheld"), [(95, False), (94, True)])
@pytest.mark.parametrize("is_old", [False, True])
def test_the_first_publication_of_an_area_needs_nearly_all(complete, is_withheld, is_old):
    """95 % of its person-areas, whatever is read of one that is older; that needs half of them."""
    first = structs.replace(area("patient-privacy", complete=complete), is_first=True)
    others = (area("patient-safety", complete=100),) * is_old
    assert bool(reasons_to_withhold(facts(areas=(first, *others)), LIMITS)) == is_withheld
    later = structs.replace(first, is_first=False)
    assert reasons_to_withhold(facts(areas=(later,)), LIMITS) == ()


def test_a_first_publication_without_a_record_in_an_area():
    """Of a hundred persons that is too good to be true, unless a person knows better."""
    first = AreaFacts(area="patient-privacy", attempted=100, complete=100, is_first=True)
    empty = facts(areas=(first,))
    (reason,) = reasons_to_withhold(empty, LIMITS)
    assert "patient-privacy has no record of any of 100 persons" in reason
    assert reasons_to_withhold(empty, structs.replace(LIMITS, accepted=empty)) == ()
    unread = facts(areas=(structs.replace(first, complete=0),))  # nobody saw that it is empty
    assert reasons_to_withhold(empty, structs.replace(LIMITS, accepted=unread))
    for other in (structs.replace(first, complete=99), structs.replace(first, is_first=False)):
        assert reasons_to_withhold(facts(areas=(other,)), LIMITS) == ()


@pytest.mark.parametrize(("is_subset", "command"), [(False, "sync"), (True, "backfill")])
def test_the_hint_names_the_command_that_accepts(is_subset, command):
    """A `sync` does not accept the removals of a backfill."""
    verdict = judge(removals(100, 60, 90, 50, is_subset=is_subset), LIMITS)
    assert f"`pts-worker {command}" in verdict.hint
    assert "--accept-removals" in verdict.hint


def test_what_is_unusual_is_said():
    """Closings, departures and missing persons above a tenth of a limit, and lost values."""
    ordinary = structs.replace(removals(100, 60, 3, 3), departing=3, missing=3)
    assert warnings(ordinary, LIMITS) == ()
    unusual = structs.replace(removals(100, 60, 4, 2), departing=4, missing=4, lost=2)
    closings, lost, departed, missing = warnings(unusual, LIMITS)
    assert closings.startswith("4 of 100 open restrictions of 2 persons")
    assert lost == "2 restrictions lost a value"
    assert departed.startswith("4 persons departed")
    assert "4 persons" in missing
    (nothing,) = warnings(facts(), structs.replace(LIMITS, accept_removals=True))
    assert nothing == "--accept-removals had no effect: the last run was not withheld"
