"""The program's commands, as click declares them."""

from collections.abc import Iterator

import click

from worker.cli import PROGRAM


def commands(
    group: click.Group = PROGRAM, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The words of each command, and of each group."""
    for path, _ in described(group, words):
        yield path


def described(
    group: click.Group = PROGRAM, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command and group, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        # Through the group, because a command is imported when it is resolved.
        _, command, _ = group.resolve_command(context, [name])
        if command is not None:
            yield (*words, name), command
        if isinstance(command, click.Group):  # listed itself, and then its commands
            yield from described(command, (*words, name))
