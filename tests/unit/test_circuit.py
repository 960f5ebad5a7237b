"""When to stop, and whether push-backs come of certain persons."""

import random

import pytest

from worker.core.circuit import FAILURES_IN_A_ROW, Circuit
from worker.core.push_backs import Repeats


class TestRepeats:
    """Whether push-backs come of the persons or of the load."""

    def test_the_same_again_and_again(self):
        """Few are pushed back, and these each time they are repeated."""
        repeats = Repeats()
        for _ in range(2):
            for number in range(100):
                repeats.first_attempt(is_pushed_back=number < 2)
            for _ in range(5):
                repeats.repeated(is_pushed_back=True)
        assert repeats.are_personal

    @pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8])
    def test_load_is_no_respecter_of_persons(self, share):
        """Where a repeated request fares as any other, however many fail, it is the load."""
        rng, repeats = random.Random(11), Repeats()
        for _ in range(5_000):
            is_pushed_back = rng.random() < share
            repeats.first_attempt(is_pushed_back=is_pushed_back)
            if is_pushed_back:
                repeats.repeated(is_pushed_back=rng.random() < share)
            assert not repeats.are_personal

    def test_load_beside_it(self):
        """When others are pushed back, too, and answered when they are repeated, load counts."""
        repeats = Repeats()
        repeats.proved()
        found = [repeats.are_personal]
        for is_pushed_back in (False, True):
            repeats.repeated(is_pushed_back=is_pushed_back)
            found.append(repeats.are_personal)
        assert found == [True, False, True]

    def test_many_are_no_handful(self):
        """When most first attempts are pushed back, it is not for certain persons."""
        repeats = Repeats()
        repeats.proved()
        for _ in range(15):
            repeats.first_attempt(is_pushed_back=True)
        assert not repeats.are_personal


class TestCircuit:
    """When to stop."""

    def test_failures_in_a_row_open_it(self):
        """Twenty failures open the circuit; single requests wait longer and longer, then none."""
        circuit = Circuit()
        waits = [circuit.failed(is_recent=True) for _ in range(FAILURES_IN_A_ROW)]
        assert (waits[:-1], waits[-1]) == ([None] * 19, 1.0)
        assert circuit.is_open
        assert [circuit.failed(is_recent=True) for _ in range(4)] == [3.0, 9.0, 27.0, None]
        assert circuit.is_broken

    def test_waits_have_a_limit(self):
        """With many probes none waits longer than a minute."""
        circuit = Circuit(probes_max=10)
        waits = [circuit.failed(is_recent=True) for _ in range(FAILURES_IN_A_ROW + 6)]
        assert waits[-7:] == [1.0, 3.0, 9.0, 27.0, 60.0, 60.0, 60.0]

    def test_those_under_way_are_no_probes(self):
        """What was sent before the circuit opened may fail without counting against it."""
        circuit = Circuit()
        for _ in range(FAILURES_IN_A_ROW):
            circuit.failed(is_recent=True)
        assert [circuit.failed(is_recent=False) for _ in range(100)] == [None] * 100
        assert (circuit.probes, circuit.is_broken) == (0, False)

    def test_one_success_closes_it(self):
        """Any answer closes the circuit and resets the count."""
        circuit = Circuit()
        for _ in range(FAILURES_IN_A_ROW + 2):
            circuit.failed(is_recent=True)
        circuit.succeeded()
        assert (circuit.probes, circuit.is_open) == (0, False)
        assert [circuit.failed(is_recent=True) for _ in range(19)] == [None] * 19
        assert circuit.failed(is_recent=True) == 1.0

    def test_without_probes(self):
        """Where nothing is tried twice, the circuit stays out of it."""
        circuit = Circuit(probes_max=0)
        assert {circuit.failed(is_recent=True) for _ in range(100)} == {None}
        assert (circuit.is_open, circuit.is_broken) == (False, False)
