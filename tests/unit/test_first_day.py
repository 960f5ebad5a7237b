"""What docs/first-day.md shows of contracts is what the program reads."""

import re
from pathlib import Path

import pytest

from worker.config.contract_file import read_contract
from worker.core.contract import AreaContract

PAGE = (Path(__file__).parents[2] / "docs/first-day.md").read_text(encoding="utf-8")
BEGIN = '[patient-safety]\npath = "/x"\n'
END = '[patient-safety.columns]\nconfidentiality_code = "code"\n'
PAGINGS = re.findall(r"`(paging = .*?)` \|", PAGE)
SNIPPETS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_it_shows_an_example_of_each_style():
    """So that a reader can compare."""
    styles = set(re.findall(r'style = "(\w+)"', "".join(PAGINGS)))
    assert styles == {"link", "next_link", "token", "page", "offset", "reference"}


@pytest.mark.parametrize("snippet", [*SNIPPETS, *PAGINGS])
def test_each_snippet_is_a_part_of_a_contract(snippet: str):
    """It can be copied."""
    around = "" if "records" in snippet else 'records = "items"\n'
    text = BEGIN + around + snippet + "\n" + ("" if ".columns]" in snippet else END)
    (made,) = read_contract(text).values()
    assert isinstance(made, AreaContract)
