"""The roster as a file: real files, synthetic identifiers."""

import io
import os
import tracemalloc
from collections import deque
from pathlib import Path

import pytest

from worker.core.model import RosterEntry, RosterLineError
from worker.errors import ConfigurationError, RosterError
from worker.roster.csv_file import LINE_LENGTH_MAX, CsvRoster

A = "16858399649"
B = "02013299997"
BAD_SUM = "12845678901"
NONE = "roster.csv contains no identifier; first error in roster.csv line"
CHANGED = "the file changed while it was read; write a new file, and rename it to this name"


async def read(roster):
    """What the roster gives: digits and reference of an entry, place and problem of a fault."""
    return [
        (line.off_id.reveal(), line.local_ref)
        if isinstance(line, RosterEntry)
        else (Path(line.where).name, line.problem)
        async for line in roster.entries()
    ]


async def read_bytes(tmp_path, content):
    path = tmp_path / "roster.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return await read(CsvRoster(path))


@pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-15", "utf-16"])
async def test_other_encodings(tmp_path, encoding):
    """``roster.encoding`` reads what other programs write; another one is named as the fault."""
    path = tmp_path / "roster.csv"
    path.write_bytes(f"off_id;local_ref\n{A};åse\n".encode(encoding))
    assert await read(CsvRoster(path, encoding=encoding)) == [(A, "åse")]
    for wrong in {"utf-8", "utf-16"} - {encoding}:
        with pytest.raises(RosterError, match=r"roster\.encoding") as raised:
            await read(CsvRoster(path, encoding=wrong))
        assert ("remove it if the file is UTF-8" in raised.value.hint) == (wrong == "utf-16")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"off_id\n{A}\n{B}\n", [(A, None), (B, None)]),
        (f"off_id,local_ref\n{A},p1\n{B},\n", [(A, "p1"), (B, None)]),
        (f"local_ref;off_id\nåse 1;{A}\n", [(A, "åse 1")]),
        (f"Name\tOFF ID\tLocal-Ref\nx\t{A}\tp1\n", [(A, "p1")]),
        (f" offId , other \n {A} , x\n", [(A, None)]),
        (f'"off_id","local_ref"\n"{A}","a ""b"", c"\n', [(A, 'a "b", c')]),
        (f'off_id, local_ref\n"{A}", "a, b"\n', [(A, "a, b")]),
        (f"\ufeffoff_id\r\n{A}\r\n", [(A, None)]),
        (f"\n\noff_id\n\n{A}\n  \n{B}", [(A, None), (B, None)]),
        (f"\ufeff\ufeff{A}\n{B}", [(A, None), (B, None)]),
        (f"sep=;\noff_id;local_ref\n{A};p1\n", [(A, "p1")]),
        (f"\ufeff  {A}  \n\n{B}\n", [(A, None), (B, None)]),
        (f'"{A}"\n168583 99649\n168583-99649\n', [(A, None)] * 3),
        (f"{A}\r{B}\r{A}\r", [(A, None), (B, None), (A, None)]),
        (f"off_id,local_ref\n{A}\n", [(A, None)]),
        (f"off_id,local_ref\n{A},{'r' * 200}\n", [(A, "r" * 200)]),
    ],
)
async def test_reads(tmp_path, content, expected):
    """Every form of file that is promised, with leading zeros kept."""
    assert await read_bytes(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("content", "expected", "unknown"),
    [
        (f"off_id,local_ref,cohort\n{A},p1,Nord\n{B},p2\n", [("p1", "Nord"), ("p2", None)], ()),
        (f"Cohort;off-id;\n My clinic ;{A}\n;{B}\n", [(None, "My clinic"), (None,) * 2], ()),
        (f"off_id,cohort,cohort\n{A},x,y\n", [(None, None)], ("cohort", "cohort")),
        (f"ward;off_id;{A}\nx;{A};y\n", [(None, None)], ("ward", "***")),
    ],
)
async def test_reads_cohorts(tmp_path, content, expected, unknown):
    """Wherever the column stands; a line that ends before it has none. Other columns are named."""
    path = tmp_path / "roster.csv"
    path.write_text(content, encoding="utf-8")
    roster = CsvRoster(path)
    lines = [line async for line in roster.entries()]
    labels = [(line.local_ref, line.cohort) for line in lines if isinstance(line, RosterEntry)]
    assert (labels, roster.unknown_columns) == (expected, unknown)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"{B},x,{'c' * 201}", "cohort is longer than 200 characters"),
        (f"{B},x,a\x7fb", "cohort contains control characters"),
        ("1013299997,x", "the identifier must be 11 digits; 10 were found; a leading zero may "),
        (" ,x", "the identifier is empty"),
        (f"p1,{B},x", "the identifier must be 11 digits; other characters were found; local_ref"),
        (f"p1,x,{B}", "the identifier must be 11 digits; other characters were found; local_ref"),
        (f"{B};x;y", "no comma, which separates the header's columns"),
        (f"{B},x,y,z", "4 fields, but the header has 3"),
        (f'{B},"open', "unbalanced quotes"),
        (f"{B},{'r' * 201}", "local_ref is longer than 200 characters"),
        (f"{B},a\x00b", "local_ref contains control characters"),
        (f"{B},{'r' * LINE_LENGTH_MAX}", f"the line is longer than {LINE_LENGTH_MAX} ch"),
    ],
)
async def test_a_bad_line_is_a_fault(tmp_path, line, problem):
    """A bad line is named by file and line, without its value, and the next line is read."""
    head = "off_id,local_ref,cohort\n"
    place, reported = (await read_bytes(tmp_path, f"{head}{A},p\n{line}\n{A},q\n"))[1]
    assert place == "roster.csv line 3"
    assert reported.startswith(problem)
    assert B not in reported
    assert "1013299997" not in reported
    assert (await read_bytes(tmp_path, f"{head}{line}\n{A},q\n"))[-1] == (A, "q")


async def test_a_first_line_of_too_few_digits_is_no_header(tmp_path):
    """An identifier that lost its zero in the first line is a fault, not a column name."""
    found = await read_bytes(tmp_path, f"1013299997\n{A}\n{A};p\n")
    assert [place for place, _ in found] == ["roster.csv line 1", A, "roster.csv line 3"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("off_id\n", "roster.csv contains no identifier: it is empty, or has only a header"),
        ("off_id\nx\n", f"{NONE} 2: the identifier must be 11 digits; other characters were found"),
        ("12345\n12346\n4711x\n", f"{NONE} 1: the identifier must be 11 digits; 5 were found"),
        ("fnr;navn\n1;2\n", "roster.csv line 1 has 2 columns, and none named off_id"),
        ("\nOla Nordmann\n", "roster.csv line 2 has 1 column, and none named off_id"),
        (f"{A};p1\n{B};p2\n", "roster.csv line 1 has 2 columns, and none named off_id"),
        ("off_id;OFF-ID\n1;2\n", "roster.csv line 1 has 2 columns, and 2 named off_id"),
        (f'off_id;"open\n{A}\n', "roster.csv: the header has unbalanced quotes"),
        (b"", "roster.csv contains no identifier"),
        (b"PK\x03\x04\x14\x00", "roster.csv is an Excel workbook, not CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "roster.csv is an Excel workbook, not CSV"),
        ("\n <!DOCTYPE html>\n", "roster.csv is an HTML or XML file, not CSV"),
        (f"{A}.0\n{B}.0\n", f"{NONE} 1: the identifier must be 11 digits; it was written as a nu"),
        (b"f\xf8dselsnummer\n", "roster.csv line 1 is not UTF-8"),
        (f"off_id\n{A};\xe5\n".encode("cp1252"), f"{NONE} 2: the line is not UTF-8 (roster.enc"),
    ],
)
async def test_a_roster_that_cannot_be_read(tmp_path, content, message):
    """No identifier, no column or another kind of file ends the run; the error has no value."""
    with pytest.raises(RosterError) as caught:
        await read_bytes(tmp_path, content)
    assert caught.value.message.replace(f"{tmp_path}/", "").startswith(message)
    assert caught.value.hint
    assert caught.value.exit_code == 65


async def test_standard_input_without_an_identifier():
    """No header is asked for a number that a spreadsheet wrote, and `doctor` does not read it."""
    for text, problem in ((b"1234\n", "4 were found"), (b"6.8E+09\n", "such as 6.8E")):
        with pytest.raises(RosterError, match=problem) as raised:
            await read(CsvRoster("-", stdin=io.BytesIO(text)))
        assert raised.value.message.startswith("standard input contains no identifier")
        assert raised.value.hint.startswith("give one 11-digit identifier per line")


async def test_standard_input_of_a_whole_hospital(monkeypatch):
    """Its lines are kept for the later passes, and too many of them are an error."""
    monkeypatch.setattr("worker.roster.csv_file.KEPT_MAX", 2)
    roster = CsvRoster("-", stdin=io.BytesIO(f"{A}\n{B}\n".encode()))
    assert await read(roster) == await read(roster) == [(A, None), (B, None)]
    with pytest.raises(RosterError, match="standard input has more than"):
        await read(CsvRoster("-", stdin=io.BytesIO(f"{A}\n{B}\n{A}\n".encode())))


@pytest.mark.promise("8")
async def test_a_roster_that_everybody_can_change(tmp_path):
    """Its group may deliver it, every account of the machine may not."""
    path = tmp_path / "roster.csv"
    path.write_text(A)
    path.chmod(0o664)
    assert await read(CsvRoster(path)) == [(A, None)]
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="every account on this machine can write"):
        await read(CsvRoster(path))


async def test_chunks_may_end_anywhere():
    """Lines are whole wherever the operating system cuts the stream, even within a line's end."""

    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    content = f"\ufefføff,off_id\r\nå,{A}\r\n\r\nø,{B}".encode()
    assert await read(CsvRoster("-", stdin=Dripping(content))) == [(A, None), (B, None)]


@pytest.mark.promise("10")
async def test_memory_is_flat(tmp_path):
    """An endless line and a long file are never held whole."""
    path = tmp_path / "roster.csv"
    with path.open("w") as file:
        file.write(f"off_id,local_ref\n{A},")
        for _ in range(3):
            file.write("x" * 1_000_000)
        file.write("\n")
        file.writelines(f"{A},r{number}\n" for number in range(4_000))
        file.write(f"{BAD_SUM}\nx\n")
    lines: deque[object] = deque(maxlen=2)
    tracemalloc.start()
    async for line in CsvRoster(path).entries():
        lines.append(line)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    warned, bad = lines
    assert isinstance(warned, RosterEntry)
    assert not warned.checksum_ok, "check digits that do not add up are a warning"
    assert isinstance(bad, RosterLineError)
    assert Path(bad.where).name == "roster.csv line 4004", "in later chunks, too"


def _write_in_place(path: Path, lines: list[str]) -> None:
    with path.open("r+") as file:
        file.write("\n".join(lines))
        file.truncate()


def _write_as_much_in_place(path: Path, lines: list[str]) -> None:
    _write_in_place(path, [*lines, A])


def _write_another(path: Path, lines: list[str]) -> None:
    another = path.with_suffix(".new")
    another.write_text("\n".join(lines))
    another.rename(path)


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("write", "problems"),
    [
        (_write_in_place, [CHANGED]),
        (_write_as_much_in_place, [CHANGED]),
        (_write_another, []),
    ],
)
async def test_a_file_that_is_written_to_while_it_is_read(tmp_path, write, problems):
    """Lines that move while they are passed over must not look like persons who have left."""
    path = tmp_path / "roster.csv"
    lines = [A, *[B] * 3_000]
    path.write_text("\n".join(lines))
    os.utime(path, (0, 0))
    found: list[object] = []
    async for line in CsvRoster(path).entries():
        if not found:
            write(path, lines[1:])
        found.append(line)
    assert [line.problem for line in found if isinstance(line, RosterLineError)] == problems
