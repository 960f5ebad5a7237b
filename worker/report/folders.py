"""The folder of a publication: it appears when all of its files are complete."""

import shutil
from pathlib import Path

import msgspec
import orjson

from worker.errors import ConfigurationError
from worker.files import named_faults, new_folder, replace_folder, write_private
from worker.report.manifest import LATEST, MANIFEST, Manifest


class PublicationFolder:
    """A folder on its way, under a temporary name beside the one that it will replace.

    Raises:
        ConfigurationError: it cannot be made, or what has its name is no export.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._out = out
        self._name = name
        target = out / name
        with named_faults(target):
            if target.exists() and not (target / MANIFEST).exists():
                raise ConfigurationError(
                    f"{target} holds no {MANIFEST}: it is no export, and is not replaced",
                    hint="move it away, or give another folder",
                )
            self.path = new_folder(out, name)

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest, replace the folder of before, and name this one in ``_LATEST``.

        An export as of an earlier time does not take the name from a later publication.

        Raises:
            ConfigurationError: a file or folder cannot be written.
        """
        content = orjson.dumps(msgspec.to_builtins(manifest), option=orjson.OPT_INDENT_2)
        with named_faults(self._out):
            write_private(self.path / MANIFEST, content + b"\n")
            replace_folder(self.path, self._out / self._name)
            if manifest.as_of is None or not self._is_later_named():
                write_private(self._out / LATEST, f"{self._name}\n".encode())

    def _is_later_named(self) -> bool:
        try:
            named = (self._out / LATEST).read_text(encoding="ascii")
        except FileNotFoundError:
            return False
        return _number(named) > _number(self._name)

    def discard(self) -> None:
        """Remove it, if it has not been published."""
        shutil.rmtree(self.path, ignore_errors=True)


def _number(name: str) -> int:
    """Of the publication of a folder; 0 of what is no such name."""
    digits = name.strip().rpartition("=")[2]
    return int(digits) if digits.isdecimal() else 0
