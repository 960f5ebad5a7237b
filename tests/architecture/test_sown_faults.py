"""Each fault of `tools/sown_faults.toml` still applies to the code that it changes."""

import tomllib

from tests.support.documents import ROOT

FAULTS = tomllib.loads((ROOT / "tools/sown_faults.toml").read_text("utf-8"))["fault"]


def test_each_sown_fault_applies_in_one_place():
    # `tools.sow` runs for hours, so a fault that does not apply would be seen late.
    places = {
        fault["name"]: (ROOT / fault["file"]).read_text("utf-8").count(fault["old"])
        for fault in FAULTS
    }
    assert {name: count for name, count in places.items() if count != 1} == {}
