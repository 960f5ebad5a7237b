"""One call of the program, its options, and those that several commands share.

The options of every command may stand before or after its name, and are found in ``Cli``.
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

_NO_BREAK: Final = "\N{NON-BREAKING HYPHEN}"
_NEW_OBJECTS_MAX: Final = 5_000
"""How many are made before the garbage collector looks through them."""


class Cli:
    """One call of the program.

    Attributes:
        config_file: of ``--config``.
        as_json: of ``--json``.
        flags: values by configuration key, each with the flag that it came from.
        keeps_code: the command ends with its own code although its result could not be written:
            what a run did is in the ledger.
    """

    def __init__(self) -> None:
        self.config_file: Path | None = None
        self.as_json = False
        self.flags: dict[str, tuple[Any, str]] = {}
        self.keeps_code = False

    def load(self, purpose: "Purpose | None") -> "App":
        """The configured app; logging is set up on the way.

        Args:
            purpose: what the command is about to do (``worker.config.needs.Purpose``).

        Raises:
            ConfigurationError: every fault of the configuration at once.
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
        """Print the command's result: as JSON, or what ``text`` prints, or its names and values.

        What would control a terminal is written out.
        """
        if self.as_json:
            print_json(result)
            return
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            text() if text is not None else print_document(plain(result, datetime))
        print(fitted(visible_lines(printed.getvalue()), sys.stdout), end="", flush=True)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run the command's coroutine to its end.

        What is imported by now is never garbage, and is not looked through again and again: a
        part of the processor time of a run.
        """
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS_MAX)
        gc.enable()
        return anyio.run(work, backend="asyncio", backend_options={"use_uvloop": True})


def duration(text: str) -> timedelta:
    """The type of an option that takes ``30s``, ``15m``, ``12h`` or ``7d``."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"this {error}") from None


def path(text: str) -> Path:
    """The type of an option that names a file or a folder, made absolute for messages."""
    if not text:
        raise click.BadParameter("the path is empty")
    return Path(text).absolute()


def setting(flag: str, key: str, **attributes: Any) -> Callable[[F], F]:
    """An option that gives a configuration key; the command does not get it as an argument."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in {None, ()}:
            text = ",".join(value) if parameter.multiple else value
            _cli(context).flags[key] = (text, parameter.opts[0])

    return click.option(flag, callback=keep, expose_value=False, **attributes)


def _cli(context: click.Context) -> Cli:
    return context.find_root().ensure_object(Cli)


def _config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
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


_of_every_command = partial(click.option, expose_value=False)
COMMON: Final = (
    _of_every_command(
        "--config",
        type=path,
        callback=_config,
        help="Configuration file; else $PTS_CONFIG, else config/worker.toml.",
    ),
    _of_every_command(
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
    _of_every_command(
        "--json",
        is_flag=True,
        callback=_json,
        help="Print one JSON document instead of text (docs/reference/json-documents.md).",
    ),
)
"""The options of every command, each as what adds it to one."""


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
    """A command with the options of every command. The first paragraph of its help is for lists."""

    context_class = _Context

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for add_option in COMMON:
            add_option(self)
        self.help = cleandoc(self.help or "")
        self.short_help = " ".join(self.help.partition("\n\n")[0].split())


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    context_class = _Context

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does; but what is meant begins alike: ``lease`` does not lead to ``erase``."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            word = error.command_name
            alike = [name for name in self.commands if name[:1] == word[:1]]
            raise click.NoSuchCommand(word, possibilities=alike, ctx=ctx) from None


area = setting(
    "--area",
    "sync.areas",
    multiple=True,
    type=click.Choice(["patient-safety", "patient-privacy"]),  # core.area takes long to load
    metavar="AREA",
    help="Only this area; may be given again. Default: sync.areas.",
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
