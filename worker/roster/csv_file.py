"""Roster from a file: CSV with a header, or one identifier per line. ``-`` is standard input."""

import codecs
import csv
import io
import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from anyio import to_thread

from worker.core.identity import is_written_as_number
from worker.core.model import RosterLineError
from worker.errors import RosterError, reason_of
from worker.roster import (
    STANDARD_INPUT,
    Columns,
    RosterLine,
    find_columns,
    line_from_texts,
    require_identifier,
)
from worker.trusted_files import WORLD_WRITE, open_trusted

LINE_LENGTH_MAX: Final = 64 * 1024

_CHUNK_BYTES: Final = 16 * 1024
_COUNT_CHUNK_BYTES: Final = 1024 * 1024
_DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
"""The delimiters, with their names for messages."""
_OTHER_FORMATS: Final = {
    "PK\x03\x04": "an Excel workbook",
    "\udcd0\udccf\x11": "an Excel workbook",  # .xls, as UTF-8
    "\xd0\xcf\x11": "an Excel workbook",  # .xls, as windows-1252
    "<": "an HTML or XML file",
}
"""Other formats by their first characters. A file server's error or login page is HTML."""
_SEPARATOR_LINE: Final = re.compile('"?sep=.?"?', re.IGNORECASE)
"""The first line of a file for Excel. The header shows the delimiter, so the line is skipped."""
_UNDECODED: Final = re.compile("[\udc80-\udcff]")
"""Bytes that are invalid in the encoding, as ``surrogateescape`` decodes them (PEP 383)."""
_WRONGLY_DECODED: Final = re.compile(f"\0|{_UNDECODED.pattern}")
"""Characters that show a wrong encoding. In UTF-16, every other byte of a header is NUL."""
_WRONG_ENCODING: Final = "is not {encoding} (roster.encoding; Excel's plain CSV is windows-1252)"
_SAVE_HINT: Final = 'save the file as "CSV UTF-8"'
_ENCODING_HINT: Final = (
    f"{_SAVE_HINT}, or set roster.encoding: for Excel's plain CSV it is "
    '"windows-1252", for its Unicode text "utf-16"'
)
_NOT_UTF_8_HINT: Final = (
    "roster.encoding is {}: remove it if the file is UTF-8, or save the file in that encoding"
)
_REWRITTEN: Final = (
    "the file changed while it was read; write a new file, and rename it to this name"
)
_HEADER_HINT: Final = (
    "name the columns off_id and (optional) local_ref and cohort in the first line; "
    "a file without a header has one 11-digit identifier per line"
)
KEPT_MAX: Final = 100_000
"""Maximum number of lines on standard input. They are kept in memory for the later passes."""
_TOO_MANY: Final = f"standard input has more than {KEPT_MAX:,} lines, which are kept in memory"
_TOO_MANY_HINT: Final = "write the roster to a file, and give roster.path"

_Source: TypeAlias = BinaryIO | io.RawIOBase


class CsvRoster:
    """Streams persons from a file, one chunk in memory at a time.

    The delimiter (comma, semicolon or tab) is detected from the header. Fields may be quoted but
    not contain line breaks. Blank lines are skipped. A byte order mark and Excel's line ``sep=;``
    may come first.

    Args:
        path: the file, or ``-`` for standard input.
    """

    def __init__(
        self, path: str | Path, *, stdin: BinaryIO | None = None, encoding: str = "utf-8"
    ) -> None:
        self._encoding = encoding
        self._path = Path(path)
        self._standard_input = (stdin or sys.stdin.buffer) if str(path) == "-" else None
        self._name = STANDARD_INPUT if self._standard_input else str(self._path.absolute())
        self._kept: list[RosterLine] = []
        self.unknown_columns: Sequence[str] = ()

    def written_at(self) -> datetime:
        """When the file was last written."""
        return datetime.fromtimestamp(self._path.stat().st_mtime, UTC)

    def entries(self) -> AsyncGenerator[RosterLine, None]:
        """Each line once, in order. See ``worker.ports.Roster``.

        If the file changed while it was read, the last line is an error, because lines may be
        missing. Standard input is kept in memory for the next call.

        Raises:
            RosterError: the file is missing, has no column ``off_id`` or no identifier, or standard
                input has too many lines.
        """
        return require_identifier(self._lines(), self._name)

    async def count_lines(self) -> int:
        """The number of lines of the file, an estimate of its persons. 0 if it is not a file."""
        if self._standard_input is not None:
            return 0
        try:
            return await to_thread.run_sync(self._count_lines)
        except OSError:
            return 0

    def _count_lines(self) -> int:
        with self._path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return 0
            return sum(
                chunk.count(b"\n") for chunk in iter(partial(file.read, _COUNT_CHUNK_BYTES), b"")
            )

    async def _lines(self) -> AsyncGenerator[RosterLine, None]:
        # Later passes read the roster again, which standard input cannot.
        for line in self._kept:
            yield line
        if self._kept:
            return
        kept: list[RosterLine] = []
        parser = _LineParser(self._name, self._encoding)
        async with self._opened() as source:
            state_before = _last_write(source)
            async for texts in self._line_chunks(source):
                for line in parser.parse(texts):
                    if self._standard_input is not None:
                        kept.append(line)
                    if len(kept) > KEPT_MAX:
                        raise RosterError(_TOO_MANY, hint=_TOO_MANY_HINT)
                    yield line
            if _last_write(source) != state_before:
                yield RosterLineError(where=self._name, problem=_REWRITTEN)
        self._kept, self.unknown_columns = kept, parser.unknown_columns

    async def _line_chunks(self, source: _Source) -> AsyncIterator[Sequence[str]]:
        """Complete lines without line ends, chunk by chunk. Truncates long lines."""
        codec = codecs.getincrementaldecoder(self._encoding)
        decoder = io.IncrementalNewlineDecoder(codec("surrogateescape"), translate=True)
        tail, is_end = "", False
        while not is_end:
            chunk = await to_thread.run_sync(source.read, _CHUNK_BYTES, abandon_on_cancel=True)
            is_end = not chunk
            try:
                *lines, tail = (tail + decoder.decode(chunk, is_end)).split("\n")
            except UnicodeError:  # also UTF-16 without a byte order mark
                problem = f"{self._name} {_WRONG_ENCODING.format(encoding=self._encoding.upper())}"
                raise RosterError(problem, hint=_encoding_hint(self._encoding)) from None
            # A file without line breaks must not fill memory.
            tail = tail[: LINE_LENGTH_MAX + 1]
            yield [*lines, tail] if is_end else lines

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[_Source]:
        opened = partial(open_trusted, self._path, key="roster.path", forbidden=WORLD_WRITE)
        try:
            if self._standard_input is not None:
                yield self._standard_input
                return
            with await to_thread.run_sync(opened) as stream:
                yield stream
        except OSError as error:
            raise RosterError(
                f"cannot read the roster {self._name}: {reason_of(error)}",
                hint="check roster.path (or --roster); `pts-worker doctor` reads it without a run",
            ) from None


def _encoding_hint(encoding: str) -> str:
    is_default = encoding.casefold() in {"utf-8", "utf8"}
    return _ENCODING_HINT if is_default else _NOT_UTF_8_HINT.format(encoding)


def _last_write(source: _Source) -> tuple[int, int] | None:
    """The size of a file and the time of its last write. None for anything else."""
    try:
        status = os.fstat(source.fileno())
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


class _LineParser:
    """Parses the lines of one file. Keeps the header and the line number."""

    def __init__(self, name: str, encoding: str) -> None:
        self._name, self._encoding = name, encoding
        self._wrong_encoding = _WRONG_ENCODING.format(encoding=encoding.upper())
        self._number = 0
        self._columns: Columns | None = None
        self.unknown_columns: Sequence[str] = ()
        self._delimiter = ""
        self._is_header_done = False

    def parse(self, texts: Sequence[str]) -> Iterator[RosterLine]:
        """The entries and errors of these lines. Skips the header and blank lines."""
        for text in texts:
            self._number += 1
            if self._number == 1:
                text = text.lstrip("\ufeff")  # noqa: PLW2901 - byte order marks: some files have two
            if len(text) > LINE_LENGTH_MAX:
                yield self._error(f"the line is longer than {LINE_LENGTH_MAX} characters")
            elif text and not text.isspace() and not self._is_separator_line(text):
                if not self._is_header_done and self._read_header(text):
                    continue
                yield self._row(text)

    def _read_header(self, text: str) -> bool:
        """Read the first line that is not blank. False if it is not a header."""
        self._is_header_done = True
        for beginning, description in _OTHER_FORMATS.items():
            if text.lstrip().startswith(beginning):
                raise RosterError(f"{self._name} is {description}, not CSV", hint=_SAVE_HINT)
        if _WRONGLY_DECODED.search(text):
            hint = _encoding_hint(self._encoding)
            raise RosterError(f"{self._place()} {self._wrong_encoding}", hint=hint)
        # A file without a header: its first line is an identifier.
        bare = text.strip().strip('"').replace(" ", "").replace("-", "")
        if (bare.isascii() and bare.isdigit()) or is_written_as_number(bare):
            return False
        # Norwegian Excel separates by semicolon.
        self._delimiter = max(_DELIMITERS, key=text.count)
        try:
            names = self._fields(text)
        except csv.Error:
            raise RosterError(
                f"{self._name}: the header has unbalanced quotes", hint=_HEADER_HINT
            ) from None
        self._columns = find_columns(names, where=self._place(), hint=_HEADER_HINT)
        self.unknown_columns = self._columns.unknown
        return True

    def _fields(self, text: str) -> list[str]:
        # Splitting is several times as fast as the csv module, and most rosters have no quotes.
        if '"' not in text:
            return text.split(self._delimiter) if self._delimiter else [text]
        return next(
            csv.reader([text], delimiter=self._delimiter or ",", strict=True, skipinitialspace=True)
        )

    def _row(self, text: str) -> RosterLine:
        # A wrong letter in a label would create a second cohort, so the line is an error.
        if not text.isascii() and _UNDECODED.search(text):
            return self._error(f"the line {self._wrong_encoding}")
        try:
            fields = self._fields(text)
        except csv.Error:
            return self._error("unbalanced quotes; a field cannot contain a line break")
        columns = self._columns
        if columns is None:
            # Without a header, the whole line is an identifier.
            off_id = fields[0] if len(fields) == 1 else text
            return line_from_texts(off_id, "", "", where=self._place())
        if problem := self._problem_of(fields, columns):
            return self._error(problem)
        local_ref, cohort = (
            fields[index] if index is not None and index < len(fields) else ""
            for index in (columns.local_ref, columns.cohort)
        )
        return line_from_texts(fields[columns.off_id], local_ref, cohort, where=self._place())

    def _problem_of(self, fields: Sequence[str], columns: Columns) -> str:
        """The difference between a line and the header's columns. Empty if there is none."""
        if len(fields) < columns.count and self._has_other_delimiter(fields):
            return f"no {_DELIMITERS[self._delimiter]}, which separates the header's columns"
        # An unquoted delimiter in a field would shift the columns after it.
        if len(fields) > columns.count:
            return f"{len(fields)} fields, but the header has {columns.count}"
        if len(fields) <= columns.off_id:
            return "the line has no field off_id"
        return ""

    def _is_separator_line(self, text: str) -> bool:
        return self._number == 1 and _SEPARATOR_LINE.fullmatch(text.strip()) is not None

    def _has_other_delimiter(self, fields: Sequence[str]) -> bool:
        """Whether a line without the header's delimiter contains another one."""
        return len(fields) == 1 and any(delimiter in fields[0] for delimiter in _DELIMITERS)

    def _error(self, problem: str) -> RosterLineError:
        return RosterLineError(where=self._place(), problem=problem)

    def _place(self) -> str:
        return f"{self._name} line {self._number}"
