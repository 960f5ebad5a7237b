"""When to stop, and whether push-backs come of certain persons."""

import random

import pytest

from worker.core.circuit import FAILURES_IN_A_ROW, Circuit
from worker.core.push_backs import Repeats

pytestmark = pytest.mark.promise("6")


def test_failures_in_a_row_open_the_circuit():
    """Twenty failures; single requests wait longer and longer, then none goes any more."""
    circuit = Circuit()
    waits = [circuit.failed(is_recent=True) for _ in range(FAILURES_IN_A_ROW)]
    assert (waits[:-1], waits[-1]) == ([None] * 19, 1.0)
    assert [circuit.failed(is_recent=False) for _ in range(100)] == [None] * 100, "sent earlier"
    assert [circuit.failed(is_recent=True) for _ in range(4)] == [3.0, 9.0, 27.0, None]
    assert (circuit.is_open, circuit.is_broken) == (True, True)


def test_one_success_closes_it():
    """Any answer closes the circuit and resets the count."""
    circuit = Circuit()
    for _ in range(FAILURES_IN_A_ROW + 2):
        circuit.failed(is_recent=True)
    circuit.succeeded()
    assert (circuit.probes, circuit.is_open) == (0, False)
    assert [circuit.failed(is_recent=True) for _ in range(19)] == [None] * 19
    assert circuit.failed(is_recent=True) == 1.0


def test_the_same_again_and_again_is_personal():
    """Few are pushed back, and these each time they are repeated."""
    repeats = Repeats()
    for _ in range(2):
        for number in range(100):
            repeats.first_attempt(is_pushed_back=number < 2)
        for _ in range(5):
            repeats.repeated(is_pushed_back=True)
    assert repeats.are_personal
    for _ in range(300):
        repeats.first_attempt(is_pushed_back=True)
    assert not repeats.are_personal, "many are no handful"


def test_load_is_no_respecter_of_persons():
    """Where a repeated request fares as any other, however many fail, it is the load."""
    rng, repeats, share = random.Random(11), Repeats(), 0.2
    for _ in range(5_000):
        is_pushed_back = rng.random() < share
        repeats.first_attempt(is_pushed_back=is_pushed_back)
        if is_pushed_back:
            repeats.repeated(is_pushed_back=rng.random() < share)
        assert not repeats.are_personal
