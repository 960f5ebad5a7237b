"""``python -m bench.reports``: what readers of a large database wait for (bench/README.md).

Processor seconds, not wall time: those of this process on SQLite, those of the server's process for
the connection on PostgreSQL. Beside each question stands the same one to copies that are laid and
indexed by hand, in the same database.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio
import structlog

from bench.ground import ROOT
from bench.machine import describe, quietness
from bench.measure import measure
from bench.publications import postmaster_of, server_cpu
from bench.reports_questions import Answered, answered
from bench.reports_store import COHORTS, DAYS, NIGHTS, fill
from tests.support.databases import execute, in_database, postgres_server

PERSONS: Final = 200_000
_REPORT_S: Final = 5.0
_PUBLICATION_S: Final = 30.0
_MANY: Final = 1_000_000
"""The persons for whom these are the goals."""
_MIB: Final = 2**20
_HEAD: Final = ("", "views, CPU s", "copies, CPU s", "ratio", "goal", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A figure that has no copy."""

    name: str
    value: str
    other: str = ""
    ratio: str = ""
    goal: str = ""
    is_met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        verdict = "" if self.is_met is None else "met" if self.is_met else "NOT MET"
        return self.name, self.value, self.other, self.ratio, self.goal, verdict


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, measure, and print."""
    chosen = _options(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print("\n".join([*describe(), quietness()[0]]), flush=True)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="pts-reports-", dir=chosen.folder)
            )
        )
        server = ""
        if "postgresql" in chosen.db:
            server = stack.enter_context(postgres_server())
        for kind in chosen.db:
            print(
                f"\n{kind}, {chosen.persons:,} persons, {COHORTS} cohorts, {DAYS} publications, of "
                f"which the last {chosen.nights} by the program",
                flush=True,
            )
            lines = list(_lines(kind, chosen, folder, server))
            lines += _publications(kind, chosen, folder)
            print(_table([line.cells() for line in lines]), flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.reports", description=__doc__)
    parser.add_argument("--persons", type=int, default=PERSONS)
    parser.add_argument("--db", type=lambda text: text.split(","), default=["sqlite", "postgresql"])
    parser.add_argument("--folder", type=Path, help="where databases are made")
    parser.add_argument("--nights", type=int, default=NIGHTS, help="written by the program")
    parser.add_argument("--no-publications", action="store_true", help="only what readers wait for")
    return parser.parse_args(arguments)


def _lines(
    kind: str, chosen: argparse.Namespace, folder: Path, server: str
) -> Iterator[Line | Answered]:
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'pts.db'}"
    else:
        anyio.run(execute, server, "CREATE DATABASE reports")
        url = in_database(server, "reports")
    anyio.run(fill, url, chosen.persons, chosen.nights)
    yield _report(url, chosen.persons, folder, server)
    yield from anyio.run(answered, url)
    if kind == "sqlite":
        (folder / "pts.db").unlink()
    else:
        anyio.run(execute, server, "DROP DATABASE reports WITH (FORCE)")


def _report(url: str, persons: int, folder: Path, server: str) -> Line:
    """The command as it is installed, with what the server spends on it."""
    (folder / "worker.toml").touch(0o600)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PTS_DATABASE__URL": url}
    env["PTS_CONFIG"] = str(folder / "worker.toml")
    out = folder / "report.html"
    command = [sys.executable, "-m", "worker", "report", "--out", str(out)]
    postmaster = anyio.run(postmaster_of, server) if server else 0
    began_s = server_cpu(postmaster) if postmaster else 0.0
    spent = measure(command, folder=folder, env=env)
    served_s = server_cpu(postmaster) - began_s if postmaster else 0.0
    spent_s = spent.cpu_s + served_s
    return Line(
        name=f"report ({spent.peak_kib // 1024} MiB)",
        value=f"{spent_s:.2f}",
        goal=f"<= {_REPORT_S:g} s at 1,000,000",
        is_met=spent_s <= _REPORT_S if persons >= _MANY else None,
    )


def _publications(kind: str, chosen: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """What a 1 % night's publication takes (the medians), and what it leaves."""
    if chosen.no_publications:
        return
    found = _measured(kind, chosen.persons, folder)
    nights = found["publications"][1:]
    spent = {name: median(night[name] for night in nights) for name in nights[0]}
    yield Line(name="publication of a 1 % night", value=f"{spent['cpu_s']:.2f}")
    yield Line(
        name="its wall time, s",
        value=f"{spent['wall_s']:.2f}",
        goal=f"<= {_PUBLICATION_S:g} s at 1,000,000",
        is_met=spent["wall_s"] <= _PUBLICATION_S if chosen.persons >= _MANY else None,
    )
    waits = max(night["longest_wait_s"] for night in found["publications"])
    yield Line(name="the longest wait of a look-up beside it, s", value=f"{waits:.3f}")
    for name, amount in {
        "write-ahead log of a 1 % night, MiB": spent["log_bytes"],
        "write-ahead log of the first night, MiB": found["publications"][0]["log_bytes"],
        f"on disk after {len(nights) + 1} nights, MiB": found["bytes"],
    }.items():
        yield Line(name=name, value=f"{amount / _MIB:,.0f}")


def _measured(kind: str, persons: int, folder: Path) -> Any:
    command = [sys.executable, "-m", "bench.publications", "--folder", str(folder)]
    command += ["--persons", str(persons), "--db", kind]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads(done.stdout.splitlines()[-1])


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    rows = [_HEAD, *rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in (0, 4) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    main()
