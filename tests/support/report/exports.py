"""Exports of a real store, and what stands in their folder."""

import csv

from worker.report.export import Options, export

SAFE = "report_patient_safety_current"
NIGHT = "publication-2"
"""The folder of ``small_store``'s last publication."""


async def export_of(world, out, fmt, views=(), *, read=None, **options):
    return await export(
        read or world.database.read,
        out,
        Options(format=fmt, views=views, **options),
        now=world.fake.now(),
        schema_revision="0001",
    )


def only(out, view, ending, *, night=NIGHT):
    """The file of a view."""
    return out / night / f"{view}.{ending}"


def rows_of(*paths):
    rows: list[dict[str, str]] = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as stream:
            rows += csv.DictReader(stream)
    return rows


def typed_rows_of(path):
    """The rows of a Parquet file."""
    from pyarrow import parquet

    return parquet.ParquetFile(path).read().to_pylist()


def contents(out):
    """Every file below a folder by its name."""
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
