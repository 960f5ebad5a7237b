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

The copy is complete as of one moment, also in the middle of a run. To restore it, stop the worker,
copy it to the database's place and remove the -wal and -shm there (docs/database.md, "Restore").
The next `sync` continues.

FILE must not exist. It gets its name when it is complete, and only its owner can read it (0600). It
holds health data: encrypt it, and keep `pseudonym.key` elsewhere. Schema and pseudonym key of the
database are checked before. PostgreSQL has `pg_dump`.

`--json`: backup (file, bytes, schema, publication_no).

Example: `pts-worker db backup /backup/pts-$(date +%F).db`
"""

command = options.group(
    "db", "Create, upgrade and back up the database. Example: `pts-worker db upgrade`"
)

options.command("upgrade", UPGRADE, of=command)

options.command("check", CHECK, of=command)

options.command(
    "backup",
    BACKUP,
    click.argument("file", type=options.FilePath(), metavar="FILE"),
    of=command,
)
