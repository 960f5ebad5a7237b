"""A contract is written as TOML that reads back to the same contract."""

import tomllib

import pytest

from tests.support.contracts import SHAPES, as_toml, contract
from worker.cli.toml_text import contract_toml as written
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
    shown = written(made)
    assert read_contract(shown) == made
    for area in tomllib.loads(shown).values():
        assert len(area) == 20
    assert all(line.isprintable() for line in shown.splitlines())


def _odd(name):
    text = as_toml(ODD[name])
    return read_contract(text.replace(r"\ud83d\ude00", "\U0001f600").replace("\x7f", r"\u007f"))


def test_comments_stand_at_their_places():
    """Above a key, and below what a table holds."""
    notes = {"patient-safety": {"id": ["two"], "extra": ["z"]}}
    lines = written(load_contract(None), notes).splitlines()
    assert lines[lines.index("# two") + 1].startswith("id = ")
    assert lines[lines.index("[patient-safety.extra]") + 1] == "# z"
