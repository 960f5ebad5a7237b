"""A contract is written as TOML that reads back to the same contract."""

import re
import tomllib

import pytest

from tests.support.contracts import SHAPES, as_toml, contract
from worker.cli.proposal import Proposal
from worker.cli.toml_text import contract_toml
from worker.config.contract_file import load_contract, read_contract
from worker.core.area import AREAS, PATIENT_SAFETY

ODD = {
    "paths and keys": contract(
        records="a.å[0].hits",
        ignore=["@odata.context", "a\u200bb", "header:X-Odd!"],
        headers={"x.y": 'q"\\', "X": ""},
        body={
            "\U0001f600\n\x7f\x9b\u202e": "\t",
            "a.b": [[], {}, [{"c": True}], 1e300, -0.5, 10**20],
            "ø": "{off_id}",
        },
    ),
    "values": contract(
        records="r",
        expect={"a": True, "b": 1, "c": 1.0, "d": "1"},
        values={},
        extra={"odd name.": ["x" * 60, "y" * 60], "each of": {"each": "list", "a b": "c"}},
    ),
}


@pytest.mark.parametrize("name", [*SHAPES, *ODD])
def test_what_is_shown_reads_back(name):
    """Every key stands there, each on a line, and nothing is lost."""
    made = read_contract(as_toml(SHAPES[name])) if name in SHAPES else _odd(name)
    shown, _ = contract_toml(made, made, {})
    assert read_contract(shown) == made
    for area in tomllib.loads(shown).values():
        assert len(area) == 20
    assert all(line.isprintable() for line in shown.splitlines())


def _odd(name):
    text = as_toml(ODD[name])
    return read_contract(text.replace(r"\ud83d\ude00", "\U0001f600").replace("\x7f", r"\u007f"))


def test_what_differs_from_the_contract_in_force_is_marked():
    """A line that differs stands below the one in force; of a removed column, that stays alone."""
    known = load_contract(None)
    area = known["patient-safety"].model_copy(update={"empty_status": (204, 404)})
    known = {**known, "patient-safety": area}
    columns = {name: source for name, source in area.columns.items() if name != "cause"}
    update = {"id": "Id", "empty_status": (204,), "extra": {"ø": ("a",)}, "columns": columns}
    made = {**known, "patient-safety": area.model_copy(update=update)}
    proposal = Proposal(PATIENT_SAFETY, area)
    proposal.candidates.append('z = "z"')
    text, todos = contract_toml(made, known, {"patient-safety": proposal})
    assert [todo["text"] for todo in todos] == [
        f"only in the contract in force: {name}" for name in ("404", "cause")
    ]
    assert '\n# in force: id = "id"\nid = "Id"  # proposal\n' in text
    assert '\n[patient-safety.extra]\n"ø" = ["a"]  # proposal\n# z = "z"\n' in text
    assert re.search(r"\n# in force: cause = .*\ndelay_days = ", text)
    assert [text.count(mark) for mark in ("# proposal", "# in force")] == [3, 3]


def test_open_points_stand_at_their_keys():
    """Numbered through the file, on one line each; a line break in one makes no line of its own."""
    known = load_contract(None)
    proposals = {area.name: Proposal(area, known[area.name]) for area in AREAS}
    for key, text in (("values", "codes"), ("id", 'two\n[x]\na = "b"'), ("id", "again")):
        proposals["patient-safety"].note(key, text)
    proposals["patient-privacy"].note("path", "old")
    text, points = contract_toml(known, known, proposals)
    assert read_contract(text) == known
    assert [tuple(point.values()) for point in points] == [
        (1, "patient-safety", "id", r'two\u000a[x]\u000aa = "b"'),
        (2, "patient-safety", "id", "again"),
        (3, "patient-safety", "values", "codes"),
        (4, "patient-privacy", "path", "old"),
    ]
    assert '\n# TODO 2: again\nid = "id"\n' in text
    assert "\n[patient-safety.values]\n# TODO 3: codes\n" in text
