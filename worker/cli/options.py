"""One call of the program, and the options that commands share.

You can give the common options before or after the command's name. ``Cli`` has their values.
"""

import contextlib
import gc
import io
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import click

from worker.cli.output import fitted, plain, print_document, print_json
from worker.core.display import visible_lines
from worker.core.times import parse_duration
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.app import App
    from worker.config.needs import Purpose

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

AREAS: Final = ("patient-safety", "patient-privacy")
"""The areas' names. ``core.area`` takes long to import, which would slow ``--help`` down."""
_NO_BREAK: Final = "\N{NON-BREAKING HYPHEN}"
_NEW_OBJECTS_MAX: Final = 5_000
"""New objects before the garbage collector scans them."""


class Cli:
    """One call of the program.

    Attributes:
        config_file: the value of ``--config``.
        as_json: whether ``--json`` is set.
        flags: values by configuration key, each with the flag that set it.
        keeps_code: the command keeps its exit code even if its output cannot be written, because
            the ledger has the result of a run.
    """

    def __init__(self) -> None:
        self.config_file: Path | None = None
        self.as_json = False
        self.flags: dict[str, tuple[Any, str]] = {}
        self.keeps_code = False

    def load(self, purpose: "Purpose | None") -> "App":
        """Read the configuration, set up logging, and return the app.

        Args:
            purpose: decides which keys are required (``worker.config.needs.Purpose``).

        Raises:
            ConfigurationError: the configuration has errors. The message lists all of them.
        """
        from worker.app import App  # noqa: PLC0415 - takes a second: not for --help
        from worker.config import load  # noqa: PLC0415 - as above
        from worker.logs import configure  # noqa: PLC0415 - as above
        from worker.ports import real_runtime  # noqa: PLC0415 - as above

        loaded = load(
            self.flags,
            environ=os.environ,
            cwd=Path.cwd(),
            config_path=self.config_file,
            purpose=purpose,
        )
        configure(loaded.settings.log.level, loaded.settings.log.format)
        return App(loaded=loaded, runtime=real_runtime())

    def emit(self, result: Any, text: Callable[[], None] | None = None) -> None:
        """Print the command's result as JSON, or with ``text``, or as names and values.

        Control characters are escaped.
        """
        if self.as_json:
            print_json(result)
            return
        # Collected, so that the complete text can be escaped and wrapped.
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            text() if text is not None else print_document(plain(result, datetime))
        print(fitted(visible_lines(printed.getvalue()), sys.stdout), end="", flush=True)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run the command's coroutine to its end."""
        # Imported objects are never garbage. Scanning them again costs processor time in a run.
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS_MAX)
        gc.enable()
        return anyio.run(work, backend="asyncio", backend_options={"use_uvloop": True})


def duration(text: str) -> timedelta:
    """Parse the value of an option such as ``30s``, ``15m``, ``12h`` or ``7d``."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"this {error}") from None


def path(text: str) -> Path:
    """Parse a path. It becomes absolute, so that messages show the folder."""
    if not text:
        raise click.BadParameter("the path is empty")
    return Path(text).absolute()


def setting(flag: str, key: str, **attributes: Any) -> Callable[[F], F]:
    """Return an option that sets a configuration key. It is not passed to the command."""

    def set_flag(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        # An absent option must not replace the value of the file.
        if value not in {None, ()}:
            text = ",".join(value) if parameter.multiple else value
            _cli(context).flags[key] = (text, parameter.opts[0])

    return click.option(flag, callback=set_flag, expose_value=False, **attributes)


def _cli(context: click.Context) -> Cli:
    return context.find_root().ensure_object(Cli)


def _config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    # click calls this for the program and for the command, and the path may be set for one only.
    _cli(context).config_file = value or _cli(context).config_file


def _json(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
    _cli(context).as_json |= value


def _pairs(context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
    for pair in value:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or "." not in key:
            raise UsageError(
                "--set takes KEY=VALUE with a configuration key",
                hint="for example --set sync.concurrency=4; `pts-worker config show` has all",
            )
        _cli(context).flags[key] = (text, f"--set {key}")


_common_option = partial(click.option, expose_value=False)
COMMON: Final = (
    _common_option(
        "--config",
        type=path,
        callback=_config,
        help="Configuration file; else $PTS_CONFIG, else config/worker.toml.",
    ),
    _common_option(
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_pairs,
        help="Any configuration key, e.g. --set sync.concurrency=4. Secrets are files, never "
        "flags.",
    ),
    setting(
        "--log-format",
        "log.format",
        metavar="FORMAT",
        help="console or json; console on a terminal, else json.",
    ),
    _common_option(
        "--json",
        is_flag=True,
        callback=_json,
        help="Print one JSON document instead of text (docs/reference/json-documents.md).",
    ),
)
"""Decorators that add the common options to a command."""


class _Formatter(click.HelpFormatter):
    """Breaks no line at a hyphen, because a broken command cannot be copied."""

    def write_text(self, text: str) -> None:
        """Write the text of the help, in lines."""
        super().write_text(text.replace("-", _NO_BREAK))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **more: Any) -> None:
        """Write names beside their texts."""
        super().write_dl(
            [(name, text.replace("-", _NO_BREAK)) for name, text in rows], *args, **more
        )

    def getvalue(self) -> str:
        """The help."""
        return super().getvalue().replace(_NO_BREAK, "-")


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command with the common options. Lists of commands show its first paragraph."""

    context_class = _Context

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for add_option in COMMON:
            add_option(self)
        self.help = cleandoc(self.help or "")
        self.short_help = " ".join(self.help.partition("\n\n")[0].split())


class Group(click.Group):
    """A group of commands with the common options."""

    command_class = Command
    context_class = _Context

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Resolve a command as click does, with fewer suggestions."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # Suggest only names with the same first letter: ``lease`` must not suggest ``erase``.
            word = error.command_name
            alike = [name for name in self.commands if name[:1] == word[:1]]
            raise click.NoSuchCommand(word, possibilities=alike, ctx=ctx) from None


area = setting(
    "--area",
    "sync.areas",
    multiple=True,
    type=click.Choice(AREAS),
    metavar="AREA",
    help="Only this area (repeatable). Default: sync.areas.",
)
wait = click.option(
    "--wait",
    type=duration,
    default="0s",
    help="How long to wait for another run to end (e.g. 30m) before giving up with exit code 4.",
)
accept_removals = click.option(
    "--accept-removals",
    is_flag=True,
    help="Accept the removals that the last withheld run counted, plus a tenth.",
)
