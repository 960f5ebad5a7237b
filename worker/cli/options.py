"""Commands with the options that every command has, and options that several share.

The former may stand before or behind the name of a command, which finds them in ``Cli``.
"""

from collections.abc import Callable
from datetime import timedelta
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from worker.cli.base import Cli
from worker.core.durations import parse_duration
from worker.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command with the options of every command. The first paragraph of its help is for lists."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += common_options()
        self.help = cleandoc(self.help or "")
        self.short_help = " ".join(self.help.partition("\n\n")[0].split())


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of its commands."""
        return list(self.commands)


class Duration(click.ParamType[timedelta, str]):
    """A duration such as ``30s``, ``15m``, ``12h``, ``7d``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"this {error}", param, ctx)


class NewPath(click.Path[Path]):
    """A path that is not empty, shown as it was typed."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read it."""
        if not value:
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class FilePath(NewPath):
    """A file that is read, made absolute: messages name no file by a part of its path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read it."""
        return super().convert(value, param, ctx).absolute()


def setting(flag: str, key: str, **attributes: Any) -> Callable[[F], F]:
    """An option that gives a configuration key; the command does not get it as an argument."""
    return click.option(flag, callback=_sets(key), expose_value=False, **attributes)


def _cli(context: click.Context) -> Cli:
    return context.find_root().ensure_object(Cli)


def _sets(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in {None, ()}:
            text = ",".join(value) if parameter.multiple else value
            _cli(context).set(key, text, flag=parameter.opts[0])

    return keep


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
        _cli(context).set(key, text, flag=f"--set {key}")


def common_options() -> list[click.Parameter]:
    """The options of every command."""

    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, **attributes)

    return [
        option(
            "--config",
            type=FilePath(),
            callback=_config,
            help="Configuration file; else $PTS_CONFIG, else config/worker.toml.",
        ),
        option(
            "--set",
            metavar="KEY=VALUE",
            multiple=True,
            callback=_pairs,
            help="Any configuration key, e.g. --set sync.concurrency=4. Secrets are files, never "
            "flags.",
        ),
        option(
            "--log-level",
            metavar="LEVEL",
            callback=_sets("log.level"),
            help="DEBUG, INFO, WARNING or ERROR, of logs on standard error; INFO, or WARNING above "
            "a progress bar, unless set.",
        ),
        option(
            "--log-format",
            metavar="FORMAT",
            callback=_sets("log.format"),
            help="console or json; console on a terminal, else json.",
        ),
        option(
            "--json",
            is_flag=True,
            callback=_json,
            help="One JSON document on standard output instead of text.",
        ),
    ]


DURATION: Final = Duration()
AREA: Final = click.Choice(["patient-safety", "patient-privacy"])
"""The names of ``worker.areas.AREAS``, which takes long to load."""

database = setting(
    "--database", "database.url", metavar="URL", help="sqlite:///FILE or postgresql://…"
)
area = setting(
    "--area",
    "sync.areas",
    multiple=True,
    type=AREA,
    metavar="AREA",
    help="Only this area; may be given again. Default: sync.areas.",
)
wait = click.option(
    "--wait",
    type=DURATION,
    default="0s",
    help="Wait so long for another run's end (e.g. 30m) before giving up with exit code 4.",
)
accept_removals = click.option(
    "--accept-removals",
    is_flag=True,
    help="I have looked: publish what the last withheld run would have closed, but not more.",
)
