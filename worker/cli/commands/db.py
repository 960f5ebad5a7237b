"""``db``: the database's schema."""

import click

from worker.cli import options

UPGRADE = """Bring the database to this program's schema, and make the reporting views anew.

It names the database, which it makes if there is none, and the configuration that was read.

Safe to run again, also after it was stopped. Run it once before the first sync and after each
upgrade of the program. The database of a development version is refused (78) and stays as it is:
begin a new one, which a full sync fills.

`--json`: database, config_file, schema (before, after).

Example: `pts-worker db upgrade`
"""

CHECK = """Show which schema the database has and which this program needs. Exit 78 if they differ.

Example: `pts-worker db check`
"""

BACKUP = """Copy a SQLite database to a new file, while runs go on.

The copy is complete as of one moment, also in the middle of a run, which the next `sync` after a
restore continues. Before it gets its name it is checked: every page, the schema, and the pseudonym
key. Only its owner can read it (0600). It holds health data: encrypt it, and keep `pseudonym.key`
elsewhere. PostgreSQL has `pg_dump`.

`--json`: backup (file, bytes, schema, publication_no).

Example: `pts-worker db backup --out /backup/pts-$(date +%F).db`
"""

RESTORE = """Bring a database back: from a file of `db backup`, or by other tools before.

The file is checked as by `db backup`, on a copy of it, and brought to this program's schema; one of
another pseudonym key, a newer program or a development version is refused. A database that is there
stays, unless `--replace` is given; while a run is on, exit 4. Then the next `sync` continues what
was open, or begins anew.

With `--in-place` a database that pg_restore, a snapshot or another tool has brought back is checked
and prepared. Call it once after each such restore, before anything else writes.

Either way the numbers of runs, publications and rows go on from the present time, as those given
since the backup are in readers' copies; an entry `restore` of `report_change_feed` lets those who
follow it begin anew. Persons who were erased since the backup are in the database again.

`--json`: restored (schema: before, after; publication_no; next_after).

Example: `pts-worker db restore /backup/pts-2026-11-26.db`
"""

command = options.group(
    "db", "Create, upgrade, back up and restore the database. Example: `pts-worker db upgrade`"
)

options.command("upgrade", UPGRADE, of=command)

options.command("check", CHECK, of=command)

options.command(
    "backup",
    BACKUP,
    click.option(
        "--out", type=options.NewPath(), required=True, help="The file; it must not exist."
    ),
    of=command,
)

options.command(
    "restore",
    RESTORE,
    click.argument("file", type=options.FilePath(), required=False),
    click.option("--replace", is_flag=True, help="Overwrite the database that is there."),
    click.option(
        "--in-place", is_flag=True, help="Another tool has brought it back: check and prepare it."
    ),
    of=command,
)
