"""The restrictions of the synthetic persons."""

import itertools
from collections import Counter

from worker.sandbox.people import NEVER, SAFETY, Restriction, population, restrictions


def world(generation: int) -> dict[str, Restriction]:
    """Every restriction of 1,000 persons, by its id."""
    found: dict[str, Restriction] = {}
    for off_id in population(1, 1_000):
        for restriction in restrictions(SAFETY, 1, off_id, generation):
            assert restriction.id not in found
            found[restriction.id] = restriction
    return found


def test_every_kind_occurs():
    """Delays with and without an end, denials for ever, N with null, parents, unknown fields."""
    found = [*world(0).values()]
    codes = Counter(one.values["confidentiality_code"] for one in found)
    assert {"N", "NORU", "NORN_FFL", "NORN_KUT", "NORN_EPO", "NORN_ALL", "NORN_ANG"} <= set(codes)
    for values in (one.values for one in found):
        code, until = values["confidentiality_code"], values["delay_delivery_until"]
        if code == "N":
            assert until is None
        elif code.startswith("NORN_"):
            assert until == NEVER
        else:
            assert (until is None) != (values["delay_days"] is None)
    causes = {one.values["cause"] for one in found}
    assert causes == {"Undefined", "Manual", "Automated", "Derived"}
    assert any(one.values["parent_object_value"] for one in found)
    assert 0 < sum("sourceRevision" in one.undeclared for one in found) < len(found) / 10


def test_a_generation_changes_a_little_of_everything():
    """From one generation to the next a few are added, changed and removed; some come back."""
    worlds = [world(generation) for generation in range(8)]
    for before, after in itertools.pairwise(worlds):
        size = len(before)
        both = before.keys() & after.keys()
        added, removed = len(after) - len(both), size - len(both)
        changed = sum(before[key] != after[key] for key in both)
        assert 0 < added < size / 25
        assert 0 < removed < size / 25
        assert 0 < changed < size / 10
    returned = {key for key in worlds[0].keys() & worlds[7].keys() if key not in worlds[3]}
    assert returned
