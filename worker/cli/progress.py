"""A progress bar on standard error, if that is a terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from worker.app import App
from worker.cli.base import Cli
from worker.logs import configure


class Show(Protocol):
    """Shows progress."""

    def __call__(self, text: str, *, share: float | None = None, note: str = "") -> None:
        """Show it.

        Args:
            text: beside the bar.
            share: how much is done, from 0 to 1; None if nobody knows.
            note: a line below the bar.
        """


class _Bar(Progress):
    """A bar with a line of text below it."""

    note = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn."""
        yield self.make_tasks_table(self.tasks)
        if self.note:
            yield Text(f"  {self.note}", overflow="ellipsis", no_wrap=True)


def is_shown(cli: Cli) -> bool:
    """Whether somebody sees a bar."""
    return sys.stderr.isatty() and not cli.as_json


@contextmanager
def progress_bar(cli: Cli, app: App, doing: str) -> Iterator[Show]:
    """A bar, which is gone at the end; nothing if nobody would see it.

    Warnings stand above it, and the rest of the log only if its level or format was chosen. The
    bar never goes back: a total that grows makes it wait.
    """
    if not is_shown(cli):
        yield _show_nothing
        return
    origins = app.loaded.origins
    if {origins["log.level"], origins["log.format"]} == {"default"}:
        configure("WARNING", app.settings.log.format)
        logging.getLogger("worker.sync.run").addFilter(_is_not_in_the_summary)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with _Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None, text="")
        drawn = 0.0

        def show(text: str, *, share: float | None = None, note: str = "") -> None:
            nonlocal drawn
            bar.note = note
            drawn = max(drawn, min(share or 0.0, 1.0))
            bar.update(task, text=text, completed=drawn, total=None if share is None else 1.0)

        yield show


def _is_not_in_the_summary(record: logging.LogRecord) -> bool:
    """What the summary says at the end is not said twice on a terminal."""
    event = record.msg.get("event") if isinstance(record.msg, dict) else None
    return event not in {"run.interrupted", "run.withheld", "drift.new"}


def _show_nothing(text: str, *, share: float | None = None, note: str = "") -> None:
    """Without a bar."""
