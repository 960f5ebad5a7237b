"""The man page, from the help of all commands: ``python -m worker.cli.man`` (``make man``)."""

import re
import sys
from collections.abc import Collection, Iterator

import click

from worker import __version__
from worker.cli.main import NAME, PROGRAM

_FILES = """
.SH ENVIRONMENT
.TP
\\fBPTS_CONFIG\\fR
Configuration file, unless \\fB\\-\\-config\\fR names one. Else config/worker.toml.
.TP
\\fBPTS_<SECTION>__<KEY>\\fR
Any configuration key.
.TP
\\fBNO_COLOR\\fR
No colours.
"""


def man_page() -> str:
    """The page in section 1, as roff."""
    context = click.Context(PROGRAM, info_name=NAME)
    parts = [f'.TH {NAME.upper()} 1 "" "{NAME} {__version__}"', ".SH NAME"]
    parts += [rf"{NAME} \- keeps a local, provable copy of PTS access restrictions"]
    parts += [".SH SYNOPSIS", rf"\fB{NAME}\fR [OPTIONS] COMMAND [ARGS]..."]
    parts += [".SH DESCRIPTION", *_paragraphs(PROGRAM.help), ".SH OPTIONS"]
    skipped = {flag for one in PROGRAM.get_params(context) for flag in one.opts}
    parts += [*_options(context), ".SH COMMANDS", *_commands(PROGRAM, context, skipped)]
    parts += [".SH EXIT STATUS", *_paragraphs(PROGRAM.epilog)]
    return "\n".join(parts) + _FILES


def _commands(group: click.Group, parent: click.Context, skipped: Collection[str]) -> Iterator[str]:
    for name in group.list_commands(parent):
        _, command, _ = group.resolve_command(parent, [name])
        if command is None:
            continue
        context = click.Context(command, info_name=name, parent=parent)
        yield f".SS {_text(command.get_usage(context).removeprefix('Usage: '))}"
        yield from _paragraphs(command.help)
        yield from _options(context, skipped)
        if isinstance(command, click.Group):
            yield from _commands(command, context, skipped)


def _options(context: click.Context, skipped: Collection[str] = ()) -> Iterator[str]:
    for one in context.command.get_params(context):
        record = None if any(flag in skipped for flag in one.opts) else one.get_help_record(context)
        if record is not None:
            yield from (".TP", rf"\fB{_text(record[0])}\fR", _text(record[1]))


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", (text or "").strip()):
        yield from (".PP", _text(" ".join(paragraph.split())))


def _text(text: str) -> str:
    """Escape what roff would read as its own (groff(7), "Escapes")."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("`", "")
    return rf"\&{escaped}" if escaped[:1] in {".", "'"} else escaped


if __name__ == "__main__":
    sys.stdout.write(man_page())
