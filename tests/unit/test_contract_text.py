"""A contract is written as TOML that reads back to the same contract."""

import tomllib

import pytest

from tests.support.contracts import SHAPES, as_toml, contract
from worker.cli.toml_text import contract_toml
from worker.config.contract_file import load_contract, read_contract

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
    shown = contract_toml(made, made, {})
    assert read_contract(shown) == made
    for area in tomllib.loads(shown).values():
        assert len(area) == 20
    assert all(line.isprintable() for line in shown.splitlines())


def _odd(name):
    text = as_toml(ODD[name])
    return read_contract(text.replace(r"\ud83d\ude00", "\U0001f600").replace("\x7f", r"\u007f"))


def test_what_differs_from_the_contract_in_force_is_marked():
    """Each line that does, below the one in force, and other marks; candidates are comments."""
    known, area = load_contract(None), load_contract(None)["patient-safety"]
    made = {**known, "patient-safety": area.model_copy(update={"id": "Id", "extra": {"ø": ("a",)}})}
    marks = {"id": "integer", "body": "not seen"}
    text = contract_toml(made, known, {"patient-safety": (marks, ['z = "z"'])})
    assert '\n# in force: id = "id"\nid = "Id"  # proposal; integer\n' in text
    assert '\n[patient-safety.extra]\n"ø" = ["a"]  # proposal\n# z = "z"\n' in text
    assert '\nbody = {offId = "{off_id}"}  # not seen\n' in text
    assert [text.count(mark) for mark in ("# proposal", "# in force", "# not seen")] == [2, 1, 1]
