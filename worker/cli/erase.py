"""``erase``: remove one person completely."""

import sys

import click

from worker.cli.base import Cli
from worker.cli.showing import columns, read_identifier
from worker.errors import StoppedError
from worker.use_cases.erase import Erasure, erase


def run(cli: Cli, *, dry_run: bool, rewrite: bool, yes: bool, purpose: str | None) -> None:
    """Run ``pts-worker erase``."""
    app = cli.load("person")
    app.identity()  # an error of the configuration comes before the question
    off_id = read_identifier()
    if not (yes or dry_run) and sys.stdin.isatty():
        _confirm()
    erasure = cli.run(lambda: erase(app, off_id, purpose=purpose, dry_run=dry_run, rewrite=rewrite))
    cli.emit(erasure, lambda: _print(erasure))


def _confirm() -> None:
    """Ask on the terminal.

    Raises:
        StoppedError: the answer is not yes.
    """
    question = "Erase everything that is stored of this person? It cannot be undone."
    if not click.confirm(question, err=True):
        raise StoppedError(
            "not confirmed; nothing was erased", hint="--dry-run counts what would go"
        )


def _print(erasure: Erasure) -> None:
    if erasure.is_known:
        print("would be erased:" if erasure.is_dry_run else "erased:")
        columns((), [(name, rows) for name, rows in erasure.rows.items() if rows], indent="  ")
    else:
        print("this person is not known here: never read, or erased already")
    if erasure.is_dry_run:
        print("nothing was changed (--dry-run)")
        return
    print("if the person is still on the roster, the next sync reads them again")
    if not erasure.is_rewritten:
        print("freed bytes stay in PostgreSQL's data files until overwritten; see --rewrite")
    print("backups, replicas, archived WAL and exported files are yours to look after")
