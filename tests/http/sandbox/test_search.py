"""The searches of the stand-in for PTS."""

import pytest

from tests.support.sandbox_caller import OFF_IDS, Caller, calling

OFF_ID = OFF_IDS[0]
ORDINARY = "12057900499"  # published by NHN for test; nothing in it shows that (reference, 5)


@pytest.mark.parametrize("off_id", [ORDINARY, "52057900499", "81234567890", "99999999999"])
def test_persons_who_may_be_real_are_refused(signed_in: Caller, off_id: str):
    """An ordinary month is 400, and the answer does not echo the identifier."""
    answer = signed_in.search(off_id)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert off_id not in answer.text


def test_the_same_seed_is_the_same_world(signed_in: Caller):
    """Another sandbox with the same seed answers with the same bytes, with another it does not."""
    ours = [signed_in.search(o).content for o in OFF_IDS[:20]]
    with calling(seed=1) as same, calling(seed=2) as different:
        same.sign_in()
        different.sign_in()
        assert [same.search(o).content for o in OFF_IDS[:20]] == ours
        assert {different.search(o).content for o in OFF_IDS[:20]} == {b"[]"}
