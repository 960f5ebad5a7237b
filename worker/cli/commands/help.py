"""``help``: the same as ``COMMAND --help``."""

import click

HELP = """Show the help of a command.

Example: `pts-worker help failures list`
"""


@click.command("help", help=HELP, short_help="Show the help of a command.")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def command(context: click.Context, words: tuple[str, ...]) -> int:
    """See ``HELP``."""
    root = context.find_root()
    arguments = [*words, "--help"]
    return int(root.command.main(arguments, prog_name=root.info_name, standalone_mode=False))
