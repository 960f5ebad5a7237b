"""The roster as a file: CSV with a header, or one identifier a line; ``-`` is standard input."""

import codecs
import csv
import io
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

from anyio import to_thread

from worker.core.model import RosterEntry, RosterLineError
from worker.errors import RosterError
from worker.roster.rows import Columns, Line, find_columns, read_text
from worker.trusted_files import Trust, open_examined

STANDARD_INPUT: Final = "-"
LINE_BYTES_MAX: Final = 64 * 1024

_CHUNK_BYTES: Final = 16 * 1024
_DELIMITERS: Final = ",;\t"
_WIDE_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HINT: Final = (
    "name the columns off_id and, if wanted, local_ref in the first line; "
    "a file without a header holds one identifier of 11 digits a line"
)


class CsvRoster:
    """Reads persons from a file as it streams in; never holds more than a chunk of it.

    The delimiter (comma, semicolon or tab) is found in the header. A field may be quoted, and ends
    on its line. Blank lines are passed over. Text is UTF-8, with or without a byte order mark.

    Args:
        path: the file, or ``-`` for standard input.
        stdin: what to read for ``-``.
    """

    def __init__(self, path: str | Path, *, stdin: BinaryIO | None = None) -> None:
        self._path = Path(path)
        self._is_stdin = str(path) == STANDARD_INPUT
        self._stdin = stdin
        self._name = "standard input" if self._is_stdin else self._path.name

    async def entries(self) -> AsyncGenerator[Line, None]:
        """Each line once, in order; see ``worker.ports.Roster``.

        Raises:
            RosterError: no file, no column ``off_id``, or not one identifier.
        """
        reader = _Reader(self._name)
        identified = False
        async with self._opened() as read:
            async for raw_lines in _chunks_of_lines(read, self._name):
                for line in reader.read(raw_lines):
                    identified = identified or isinstance(line, RosterEntry)
                    yield line
        if not identified:
            raise RosterError(f"{self._name} holds not one identifier", hint=_HINT)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Callable[[int], bytes]]:
        if self._is_stdin:
            standard = self._stdin or sys.stdin.buffer
            yield standard.read1 if isinstance(standard, io.BufferedReader) else standard.read
            return
        try:
            stream = await to_thread.run_sync(
                lambda: open_examined(self._path, key="roster.path", trust=Trust.DATA)
            )
        except OSError as error:
            raise _unreadable(str(self._path), error) from None
        with stream:
            yield lambda size: stream.read(size) or b""


def _unreadable(name: str, error: OSError) -> RosterError:
    reason = (error.strerror or type(error).__name__).lower()
    return RosterError(f"the roster {name} cannot be read: {reason}", hint="see roster.path")


async def _chunks_of_lines(
    read: Callable[[int], bytes], name: str
) -> AsyncIterator[Sequence[bytes]]:
    """Whole lines without their ends, chunk by chunk; of an endless line only its beginning."""
    tail = b""
    while True:
        try:
            # A read of standard input may wait for ever: a stop must not wait for it.
            chunk = await to_thread.run_sync(read, _CHUNK_BYTES, abandon_on_cancel=True)
        except (OSError, ValueError) as error:
            reason = error if isinstance(error, OSError) else OSError(0, "it is closed")
            raise _unreadable(name, reason) from None
        if not chunk:
            break
        data = tail + chunk
        lines = data.splitlines()
        tail = b""
        if not data.endswith(b"\n"):
            end = b"\r" if data.endswith(b"\r") else b""
            tail = lines.pop()[: LINE_BYTES_MAX + 1] + end
        yield lines
    if tail:
        yield tail.splitlines()


class _Reader:
    """Turns the lines of one file into entries; knows the header and the line number."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self._columns: Columns | None = None
        self._delimiter = ""
        self._begun = False

    def read(self, raw_lines: Sequence[bytes]) -> Iterator[Line]:
        """The entries and faults of some lines; a header and blank lines give none."""
        for raw in raw_lines:
            self._number += 1
            if self._number == 1:
                raw = self._without_mark(raw)  # noqa: PLW2901 -- the mark is no part of the line
            if len(raw) > LINE_BYTES_MAX:
                yield self._fault(f"the line is longer than {LINE_BYTES_MAX} bytes")
                continue
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                yield self._fault("the line is not UTF-8")
                continue
            if text and not text.isspace():
                if not self._begun and self._begin(text):
                    continue
                yield self._row(text)

    def _without_mark(self, raw: bytes) -> bytes:
        if raw.startswith(_WIDE_MARKS):
            raise RosterError(
                f"{self._name} is UTF-16, not UTF-8", hint="save the file as UTF-8 (CSV UTF-8)"
            )
        return raw.removeprefix(codecs.BOM_UTF8)

    def _begin(self, text: str) -> bool:
        """Look at the first line with something in it; True if it is a header."""
        self._begun = True
        bare = text.strip().strip('"').replace(" ", "").replace("-", "")
        if bare.isascii() and bare.isdigit():
            return False
        self._delimiter = max(_DELIMITERS, key=text.count)
        try:
            names = self._fields(text)
        except csv.Error:
            raise RosterError(
                f"{self._name}: the header's quotes do not match", hint=_HINT
            ) from None
        self._columns = find_columns(names, where=self._name, hint=_HINT)
        return True

    def _fields(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self._delimiter) if self._delimiter else [text]
        return next(
            csv.reader([text], delimiter=self._delimiter or ",", strict=True, skipinitialspace=True)
        )

    def _row(self, text: str) -> Line:
        try:
            fields = self._fields(text)
        except csv.Error:
            return self._fault("the quotes do not match; a field must end on its line")
        columns = self._columns
        if columns is None:
            off_id, local_ref = (fields[0], None) if len(fields) == 1 else (text, None)
        elif len(fields) > columns.count:
            return self._fault(f"{len(fields)} fields under a header of {columns.count}")
        elif len(fields) <= columns.off_id:
            return self._fault("the line has no field off_id")
        else:
            off_id = fields[columns.off_id]
            place = columns.local_ref
            local_ref = fields[place] if place is not None and place < len(fields) else None
        return read_text(off_id, local_ref, source=self._name, unit="line", number=self._number)

    def _fault(self, problem: str) -> RosterLineError:
        return RosterLineError(where=f"{self._name} line {self._number}", problem=problem)
