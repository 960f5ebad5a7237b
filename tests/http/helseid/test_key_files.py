"""Keys are replaced only where nobody else can make files beside them."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.access_lists import set_list
from worker.errors import ConfigurationError
from worker.helseid.key_files import key_files
from worker.trusted_files import named_rights

STRANGER = 4242


@pytest.mark.promise("8")
@pytest.mark.parametrize("mode", [0o1777, 0o1770])
def test_others_can_make_files_beside_the_key(tmp_path: Path, mode: int):
    """A planted ``F.new`` would be taken for a rotation that goes on."""
    key = tmp_path / "key.jwk"
    key.write_bytes(b"{}")
    key_files(key)
    tmp_path.chmod(mode)
    (tmp_path / "key.jwk.new").write_bytes(b"{}")
    os.chown(tmp_path / "key.jwk.new", STRANGER, -1)
    with pytest.raises(ConfigurationError, match="can make files in the folder") as caught:
        key_files(key)
    assert f"{tmp_path} (mode {mode:04o})" in caught.value.message
    assert "mkdir -m 700" in caught.value.hint


def test_a_default_list_of_the_folder_lets_nobody_read_the_new_key(tmp_path: Path):
    """The mode of the key before it brings the group's bits, and with them a list into force."""
    key = tmp_path / "key.jwk"
    key.write_bytes(b"{}")
    key.chmod(0o640)
    set_list(tmp_path, 4, number=STRANGER, is_default=True)
    files = key_files(key)
    files.put_pending({"kid": "new"})
    files.put_in_place()
    assert oct(stat.S_IMODE(key.stat().st_mode)) == oct(0o640)
    assert named_rights(key, key.stat().st_mode) == 0
