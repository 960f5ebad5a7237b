"""Options that several commands share, and groups of commands.

The common options may stand before or behind the name of a command, which finds them in ``Given``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from worker.core.durations import parse_duration
from worker.core.times import parse_time
from worker.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Given:
    """What one call gives for every command.

    Attributes:
        flags: values by configuration key.
        flag_names: the flag that each of them came from, for messages.
    """

    config_file: Path | None = None
    as_json: bool = False
    flags: dict[str, Any] = field(default_factory=dict)
    flag_names: dict[str, str] = field(default_factory=dict)

    def set(self, key: str, value: object, *, flag: str) -> None:
        """Note the value of a configuration key."""
        self.flags[key] = value
        self.flag_names[key] = flag


def given(context: click.Context) -> Given:
    """What this call gives; the same for all of its contexts."""
    return context.find_root().ensure_object(Given)


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


def parse_as_of(text: str) -> datetime:
    """The time of ``--as-of``; UTC if it names no zone, a date alone is its midnight.

    Raises:
        UsageError: it is no ISO 8601 time.
    """
    try:
        return parse_time(text.strip(), naive=UTC)
    except ValueError as error:
        raise UsageError(f"--as-of: {error}", hint="for example 2026-01-31T12:00:00Z") from None


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


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of its commands."""
        return list(self.commands)


def group(name: str, text: str) -> Group:
    """A group of commands, with this help."""
    return Group(name, help=text, short_help=text, no_args_is_help=True)


def command(
    name: str, text: str, *decorators: Callable[[Any], Any], of: Group | None = None
) -> click.Command:
    """A command whose code is loaded when it runs, so that its help is there at once.

    That is the function ``run`` of ``worker.cli.NAME``; of a group's, ``NAME`` of
    ``worker.cli.GROUP``. It takes a ``worker.cli.base.Cli`` and the command's own options, and
    gives the exit code, or nothing for 0.

    Args:
        text: its help: paragraphs, the first of them for lists of commands.
    """
    runs = (
        f"worker.cli.{name}:run" if of is None else f"worker.cli.{of.name}:{name.replace('-', '_')}"
    )

    def callback(**values: Any) -> int:
        call = import_module("worker.cli.base").call
        return int(call(runs, given(click.get_current_context()), values))

    function: Callable[..., int] = callback
    for decorate in reversed(decorators):
        function = decorate(function)
    summary = " ".join(text.partition("\n\n")[0].split())
    made = click.command(name, help=text, short_help=summary)(function)
    made.params += common_options()
    if of is not None:
        of.add_command(made)
    return made


def setting(flag: str, key: str, **attributes: Any) -> Callable[[F], F]:
    """An option that gives a configuration key; the command does not get it as an argument."""
    return click.option(flag, callback=_sets(key), expose_value=False, **attributes)


def _sets(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in {None, ()}:
            text = ",".join(value) if parameter.multiple else value
            given(context).set(key, text, flag=parameter.opts[0])

    return keep


def _config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    given(context).config_file = value or given(context).config_file


def _json(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
    given(context).as_json |= value


def _pairs(context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
    for pair in value:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or "." not in key:
            raise UsageError(
                "--set takes KEY=VALUE with a configuration key",
                hint="for example --set sync.concurrency=4; `pts-worker config show` has all",
            )
        given(context).set(key, text, flag=f"--set {key}")


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

roster = setting(
    "--roster",
    "roster.path",
    help="File: CSV with a column off_id, or one identifier a line; - is standard input.",
)
database = setting(
    "--database", "database.url", metavar="URL", help="sqlite:///FILE or postgresql://…"
)
base_url = setting(
    "--base-url", "api.base_url", metavar="URL", help="PTS's address; api.environment sets it."
)
issuer = setting(
    "--issuer", "helseid.issuer", metavar="URL", help="HelseID's issuer; api.environment sets it."
)
area = setting(
    "--area",
    "sync.areas",
    multiple=True,
    type=AREA,
    metavar="AREA",
    help="Only this area; may be given again. Default: sync.areas.",
)
concurrency = setting(
    "--concurrency", "sync.concurrency", type=int, help="Requests at once, at most."
)
rate = setting(
    "--requests-per-second",
    "sync.requests_per_second",
    type=float,
    help="Ceiling on requests to PTS.",
)
deadline = setting(
    "--deadline",
    "sync.deadline",
    metavar="DURATION",
    help="Stop after so long, e.g. 4h; what was read is kept.",
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
accept_service = click.option(
    "--accept-service",
    is_flag=True,
    help="It is the same PTS at a new address: note that in the database.",
)
