"""``keys``: pairs for HelseID, and the key of the pseudonyms."""

import json
import stat
from pathlib import Path

import pytest

from tests.support.program import Installation, calls


@pytest.fixture
def unset(tmp_path: Path) -> Installation:
    """A worker with an empty configuration."""
    made = Installation(folder=tmp_path, database_url="")
    made.configure()
    return made


def test_new_makes_a_pair(unset: Installation):
    """The private half stands in a file of mode 0600, only the public half is printed."""
    path = unset.folder / "client.jwk"
    made, public, again = calls(
        unset,
        f"keys new --out {path} --json",
        f"keys public --set helseid.private_jwk_file={path}",
        f"keys new --out {path} --json",
    )
    private = json.loads(path.read_text())
    assert oct(stat.S_IMODE(path.stat().st_mode)) == "0o600"
    public_half = {name: value for name, value in private.items() if name != "d"}
    assert (public_half["alg"], public_half["kty"]) == ("ES512", "EC")
    assert made.document["public_jwk"] == public.document == public_half
    assert [one for one in (made, public, again) if private["d"] in one.out] == []
    # A key that is there may be registered: it is never overwritten.
    assert (again.code, json.loads(path.read_text())) == (78, private)


def test_pseudonym_makes_32_random_bytes(unset: Installation):
    """Each time others, in a file of mode 0600, never over another."""
    one, two = unset.folder / "one", unset.folder / "two"
    first, second, again = calls(
        unset,
        f"keys pseudonym --out {one} --json",
        f"keys pseudonym --out {two} --json",
        f"keys pseudonym --out {one} --json",
    )
    assert (first.document, second.document) == ({"file": str(one)}, {"file": str(two)})
    assert len(one.read_bytes()) == 32
    assert one.read_bytes() != two.read_bytes()
    assert oct(stat.S_IMODE(one.stat().st_mode)) == "0o600"
    assert again.code == 78
