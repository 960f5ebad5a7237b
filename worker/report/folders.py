"""The folder of an export. It appears when all files and the manifest are complete."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.files import named_faults, write_atomically

MANIFEST: Final = "_manifest.json"
LATEST: Final = "_LATEST"


class ExportedColumn(Value, frozen=True, kw_only=True):
    """One column of a file. ``type`` is a type in ``report_dictionary``."""

    name: str
    type: str


class ExportedView(Value, frozen=True, kw_only=True):
    """One view, in a file of its own.

    Attributes:
        order: the columns that sort the rows.
        columns: the columns of the view, in order.
    """

    name: str
    file: str
    rows: int
    bytes: int
    sha256: str
    order: Sequence[str]
    columns: Sequence[ExportedColumn]


class Manifest(Value, frozen=True, kw_only=True):
    """The content of ``_manifest.json``. Times are ISO 8601 UTC.

    Attributes:
        folder: the name of the publication's folder.
        run_id, publication_no, published_at: the publication of the files. Null before the first.
        since: the change feed starts after this publication. Null for views.
    """

    folder: str
    format: str
    dialect: str | None
    run_id: int | None
    publication_no: int | None
    published_at: str | None
    exported_at: str
    worker_version: str
    schema_revision: str
    since: int | None
    views: Sequence[ExportedView]


class PublicationFolder:
    """An incomplete folder, under a temporary name beside the one that it will replace.

    Raises:
        ConfigurationError: it cannot be created, or a folder with its name is not an export.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._out = out
        self._name = name
        target = out / name
        with named_faults(target):
            # ``publish`` deletes the folder that it replaces, so it must be an earlier export.
            if target.exists() and not (target / MANIFEST).exists():
                raise ConfigurationError(
                    f"{target} has no {MANIFEST}: it is not an export, and is not replaced",
                    hint="move it away, or give another folder",
                )
            self.path = _hidden(out, name)

    def create(self, name: str) -> BinaryIO:
        """Create a file in the folder, and open it for writing.

        Raises:
            ConfigurationError: the file cannot be created.
        """
        with named_faults(self._out):
            descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            return os.fdopen(descriptor, "wb")

    def digest(self, name: str) -> tuple[int, str]:
        """Sync a file of the folder to disk. Return its size and SHA-256."""
        with named_faults(self._out), (self.path / name).open("rb") as file:
            # Before the folder appears, so that a power failure leaves no empty file in it.
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
            return size, hashlib.file_digest(file, "sha256").hexdigest()

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest, replace the previous folder, and name this one in ``_LATEST``.

        Raises:
            ConfigurationError: a file or folder cannot be written.
        """
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        with named_faults(self._out):
            # In this order: a reader that follows _LATEST always reaches a complete folder.
            write_atomically(self.path / MANIFEST, content + b"\n")
            _replace(self.path, self._out / self._name)
            write_atomically(self._out / LATEST, f"{self._name}\n".encode())

    def discard(self) -> None:
        """Remove the folder, unless it was published."""
        shutil.rmtree(self.path, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Create the folder with mode 0700 if it does not exist.

    Raises:
        ConfigurationError: the folder cannot be created, or a file is there.
    """
    if path.is_file():
        raise ConfigurationError(f"{path} is a file", hint="name a folder; a new one is created")
    with named_faults(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _hidden(parent: Path, name: str) -> Path:
    """Create a hidden folder with mode 0700 in ``parent``. A crash leaves it behind."""
    return Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=".part"))


def _replace(temporary: Path, target: Path) -> None:
    """Replace a folder, and remove the old one with its content."""
    if not target.exists():
        temporary.rename(target)
        return
    # POSIX cannot replace a full folder in one step. A crash between the two renames leaves both
    # folders under hidden names that end with ``.part``.
    previous = _hidden(target.parent, target.name)
    target.rename(previous)
    try:
        temporary.rename(target)
    except OSError:
        previous.rename(target)
        raise
    shutil.rmtree(previous)
