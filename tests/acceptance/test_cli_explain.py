"""``explain``: everything known of one person, but not who it is."""

from typing import Any

import pytest

from tests.support.program import Ended, Installation, Sandbox, calls, other_key
from tests.support.two_runs import changed, failing, identifier

STRANGER = "16858399649"
MISTYPED = "16858399641"
"""With wrong check digits."""


@pytest.fixture(scope="module")
def ends(two_runs: Installation, served: Sandbox) -> dict[str, Ended]:
    """What is said of a person, of one whose area failed, and of one whom nobody has met."""
    first = two_runs.store.one("SELECT published_at FROM report_run WHERE run_id = 1")
    person, failed = identifier(served, changed(two_runs)), failing(served)
    lines = {
        "now": ("explain --json", person),
        "text": ("explain", f"{person}\n"),
        "between": (f"explain --json --as-of {first}", person),
        "before": ("explain --json --as-of 2020-01-01", person),
        "no time": ("explain --as-of yesterday", person),
        "failed": ("explain --json", failed),
        "stranger": ("explain --json", STRANGER),
        "stranger as text": ("explain", STRANGER),
        "mistyped": ("explain", MISTYPED),
        "other key": (
            f"explain --json --set privacy.pseudonym_key_file={other_key(two_runs.folder)}",
            STRANGER,
        ),
        "nine digits": ("explain", "123456789\n"),
        "two persons": ("explain", f"{person}\n{failed}\n"),
    }
    found = calls(two_runs, *lines.values())
    said = "".join(one.out + one.err for one in found)
    secrets = (person, failed, STRANGER, MISTYPED, "123456789")
    assert [one for one in secrets if one in said] == []
    return dict(zip(lines, found, strict=True))


def shown(area: dict[str, Any]) -> set[str]:
    return {one["restriction_id"] for one in area["restrictions"] if one["is_shown"]}


def test_explain_shows_proof_restrictions_and_history(
    ends: dict[str, Ended], two_runs: Installation
):
    """By area: the last read, what is in force, and what was; never the identifier."""
    found, local_ref = ends["now"].document, changed(two_runs)
    assert (found["is_known"], found["local_ref"], found["first_run"]) == (True, local_ref, 1)
    assert found["publication"]["run_id"] == 2
    safety, privacy = found["areas"]
    assert (safety["area"], privacy["area"]) == ("patient-safety", "patient-privacy")
    assert (safety["pages"], safety["is_stale"], safety["failure_kind"]) == (1, False, None)
    assert shown(safety) == {key for one, key in two_runs.store.ids() if one == local_ref}
    past = [one for one in safety["restrictions"] if not one["is_shown"]]
    assert {one["closed_run"] for one in past} == {2}
    assert all(one["confidentiality_code"] for one in past)
    # As text: each column with a value on a line.
    assert ends["text"].code == 0
    assert local_ref in ends["text"].out
    assert "    confidentiality code " in ends["text"].out


@pytest.mark.promise("2")
def test_explain_as_of_shows_what_readers_saw_then(ends: dict[str, Ended]):
    """Between the two publications: the versions of the first. Before it: nothing."""
    between = ends["between"].document
    assert between["publication"]["run_id"] == 1
    then = between["areas"][0]["restrictions"]
    assert {one["opened_run"] for one in then} == {1}
    assert all(one["is_shown"] for one in then)
    before = ends["before"].document
    assert (before["publication"], before["areas"][0]["restrictions"]) == (None, [])
    assert ends["no time"].code == 2


def test_a_stranger_is_an_answer_and_another_key_is_not(ends: dict[str, Ended]):
    """A person whom no run has met is not known; under a wrong key everybody would be so.

    Nine digits are no identifier, and are not repeated.
    """
    assert (ends["stranger"].code, ends["stranger"].document["is_known"]) == (0, False)
    assert ends["stranger as text"].out == "no person with this identifier is stored\n"
    assert "Its check digits are wrong: check the number" in ends["mistyped"].out
    assert ends["other key"].code == 78
    assert "not the key" in ends["other key"].message
    assert ends["nine digits"].code == 2
    assert "9 were found" in ends["nine digits"].err
    assert "more than one line" in ends["two persons"].err
