"""The restrictions of the synthetic persons."""

import itertools
import re
from collections import Counter

from worker.sandbox.people import Population
from worker.sandbox.restrictions import (
    NEVER,
    SAFETY,
    Holder,
    Restriction,
    restrictions,
)

PERSONS = 1_000
PEOPLE = Population(1, PERSONS)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}(Z|\+00:00)")


def world(area: str, generation: int) -> dict[str, tuple[str, Restriction]]:
    """Every restriction by its id, with the person who answers with it."""
    found: dict[str, tuple[str, Restriction]] = {}
    for index in range(PERSONS):
        owner = PEOPLE.owner(index, generation)
        if owner is None:
            continue
        off_id = PEOPLE.off_id(index)
        holder = Holder(owner, off_id, certain=PEOPLE.is_mover(index))
        for restriction in restrictions(area, 1, holder, generation):
            assert restriction.id not in found
            found[restriction.id] = off_id, restriction
    return found


def test_every_kind_occurs():
    """Delays with and without an end, denials for ever, N with null, parents, unknown fields."""
    found = [restriction for _, restriction in world(SAFETY, 0).values()]
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
        assert TIME.fullmatch(values["source_created_at"].text())
    causes = {one.values["cause"] for one in found}
    assert causes == {"Undefined", "Manual", "Automated", "Derived"}
    assert any(one.values["parent_object_value"] for one in found)
    assert 0 < sum("sourceRevision" in one.undeclared for one in found) < len(found) / 10


def test_a_generation_changes_a_little_of_everything():
    """From one generation to the next a few are added, changed and removed; some come back."""
    worlds = [world(SAFETY, generation) for generation in range(8)]
    for before, after in itertools.pairwise(worlds):
        size = len(before)
        both = before.keys() & after.keys()
        added, removed = len(after) - len(both), size - len(both)
        changed = sum(before[key][1] != after[key][1] for key in both)
        assert 0 < added < size / 25
        assert 0 < removed < size / 25
        assert 0 < changed < size / 10
    returned = {key for key in worlds[0].keys() & worlds[7].keys() if key not in worlds[3]}
    assert returned
