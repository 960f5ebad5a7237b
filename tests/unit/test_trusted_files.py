"""Files are read only if nobody else could have put them there, or could change them."""

import grp
import os
import pwd
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.trusted_files import WORLD_WRITE, read_trusted

KEY = "helseid.private_jwk_file"
STRANGER = 4242
ROSTER = {"forbidden": WORLD_WRITE}
SECRET = {"is_secret": True}


def read(path, **options):
    return read_trusted(path, key=KEY, **options)


@contextmanager
def acting_as(user_id):
    os.seteuid(user_id)
    try:
        yield
    finally:
        os.seteuid(0)


def refusal(path, **options):
    with pytest.raises(ConfigurationError) as refused:
        read(path, **options)
    assert refused.value.message.startswith(f"{KEY}: ")
    return f"{refused.value.message} | {refused.value.hint}"


@pytest.fixture(name="file")
def file_fixture(tmp_path):
    path = tmp_path / "key.jwk"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    return path


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("options", "mode", "mended_by"),
    [
        ({}, 0o420, "chmod 0600"),
        ({}, 0o620, "chmod 0600"),
        ({}, 0o640, None),
        ({}, 0o644, None),
        ({}, 0o666, "chmod 0644"),
        (SECRET, 0o646, "chmod 0600"),
        (SECRET, 0o664, "chmod 0600"),
        (ROSTER, 0o664, None),
        (ROSTER, 0o666, "chmod 0664"),
    ],
)
def test_who_else_may_write(file, options, mode, mended_by):
    """A roster's group at most, else nobody; the message gives the command that mends it.

    Reading rights of others are judged elsewhere.
    """
    file.chmod(mode)
    if mended_by is None:
        assert read(file, **options) == b"secret"
    else:
        reported = refusal(file, **options)
        assert f"{mode:04o}" in reported
        assert f"{mended_by} {file}" in reported


@pytest.mark.promise("8")
@pytest.mark.parametrize("mode", [0o775, 0o2770])
def test_a_folder_that_its_group_can_write(file, mode):
    """The same, with whatever lies in it, also further down; a roster's group may."""
    (file.parent / "below").mkdir(mode=0o700)
    below = file.rename(file.parent / "below" / file.name)
    folder = below.parent.parent
    folder.chmod(mode)
    assert f"its group can write {folder} (mode {mode:04o})" in refusal(below)
    assert f"chmod {mode - 0o020:04o} {folder}" in refusal(below)
    assert read(below, **ROSTER) == b"secret"
    folder.chmod(mode | 0o1000)
    assert read(below) == b"secret"


def user_with_own_group():
    return next(
        one
        for one in pwd.getpwall()
        if one.pw_uid and grp.getgrgid(one.pw_gid) == (one.pw_name, "x", one.pw_gid, [])
    )


@contextmanager
def file_of(user):
    """A file in a folder, both of which belong to this user."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key.jwk"
        file.write_bytes(b"secret")
        for place in (file, folder):
            os.chown(place, user.pw_uid, user.pw_gid)
        yield file


@pytest.mark.parametrize(
    ("caller", "hint"), [(0, "use pts-admin"), (STRANGER, "run this as that user")]
)
def test_what_to_do_about_another_owner(caller, hint):
    """The hint for root is to use pts-admin. No hint says to run chown."""
    user = user_with_own_group()
    with file_of(user) as file:
        file.parent.chmod(0o755)
        with acting_as(caller):
            said = refusal(file)
    assert f"{file.parent} belongs to another user (uid {user.pw_uid})" in said
    assert hint in said
    assert "chown" not in said


@pytest.mark.promise("8")
def test_a_user_and_a_group_of_the_same_name():
    """``umask 002`` lets a private group write; another group, or root's own, is not private."""
    user = user_with_own_group()
    with file_of(user) as file:
        folder = file.parent
        file.chmod(0o664)
        folder.chmod(0o775)
        with acting_as(user.pw_uid):
            assert read(file) == b"secret"
        os.chown(file, user.pw_uid, STRANGER)
        with acting_as(user.pw_uid):
            assert "its group can write" in refusal(file)
        os.chown(folder, 0, 0)
        os.chown(file, 0, 0)
        assert "its group can write" in refusal(file)


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("is_linked", [False, True])
def test_what_belongs_to_another_user(tmp_path, what, is_linked):
    """The owner can change the file, or put another in its place; a link does not hide that."""
    places = {name: tmp_path / name for name in ("folder", "link")}
    places["file"] = places["folder"] / "key.jwk"
    places["folder"].mkdir()
    places["file"].write_bytes(b"planted")
    places["link"].symlink_to(places["file"])
    os.chown(places[what], STRANGER, -1)
    reported = refusal(places["link" if is_linked else "file"])
    assert f"uid {STRANGER}" in reported
    assert str(places[what]) in reported


@pytest.mark.promise("8")
def test_a_folder_in_which_others_can_exchange_a_link(file):
    """They could lead it to another file, whose own folder is safe; also behind another link."""
    shared = file.parent / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "key.jwk").symlink_to(file)
    (file.parent / "link").symlink_to(shared / "key.jwk")
    for path in (shared / "key.jwk", file.parent / "link"):
        assert f"every account on this machine can write {shared}" in refusal(path)


def test_links_as_kubernetes_makes_them(tmp_path):
    """A secret volume: key.jwk -> ..data/key.jwk, ..data -> ..2026_11_26, all of root's."""
    (tmp_path / "..2026_11_26").mkdir()
    (tmp_path / "..2026_11_26" / "key.jwk").write_bytes(b"secret")
    (tmp_path / "..2026_11_26" / "key.jwk").chmod(0o440)
    (tmp_path / "..data").symlink_to("..2026_11_26")
    (tmp_path / "key.jwk").symlink_to("..data/key.jwk")
    tmp_path.chmod(0o1777)
    assert read(tmp_path / "key.jwk") == b"secret"


def test_what_is_no_plain_file(tmp_path):
    """A folder is named as such; a pipe does not block; there is no endless way."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot be read" in refusal(tmp_path / "a")
    assert "cannot be read: is a directory" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a plain file" in refusal(tmp_path / "pipe")


def test_missing_is_not_forbidden(file, monkeypatch):
    """A missing file is distinguished from one that may not be read, and named absolutely."""
    monkeypatch.chdir(file.parent)
    assert f"there is no file {file.parent}/absent | check the path" in refusal(Path("absent"))
    with acting_as(STRANGER):
        assert "cannot be read: permission denied" in refusal(file)


def test_a_size_beyond_the_limit(file):
    """It is not read on."""
    os.truncate(file, (4 << 20) + 1)
    assert "too large" in refusal(file)
