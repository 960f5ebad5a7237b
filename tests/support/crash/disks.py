"""A disk of a few megabytes, to be filled: a tmpfs, where this machine lets a test mount one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_BALLAST = "ballast"
_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class SmallDisk:
    """A file system of its own."""

    folder: Path

    def fill(self) -> None:
        """Leave nothing, though others write at the same time."""
        with suppress(OSError), (self.folder / _BALLAST).open("ab", buffering=0) as file:
            while True:
                file.write(bytes(_PAGE))

    def protect(self) -> None:
        """Nothing may be written any more, as on a medium that is read only."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def make_room(self) -> None:
        """As much as there was."""
        (self.folder / _BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(megabytes: int, *, owner: int | None = None) -> Iterator[SmallDisk]:
    """The disk; where mounting is not allowed the test is skipped.

    Args:
        megabytes: its size.
        owner: the user who owns it; else the one who runs the tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="pts-disk-"))
    folder.chmod(0o755)
    uid = os.getuid() if owner is None else owner
    options = f"size={megabytes}m,mode=0700,uid={uid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
            pytest.skip("NOT TESTED: no disk may be mounted here")
        try:
            yield SmallDisk(folder=folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
