"""What every command shares: common options, the configured app, output, errors.

A command is a function whose first parameter is a ``Cli``; ``add_command`` gives it the common
options, so that they may stand before or behind the command's name.
"""

import contextlib
import functools
import inspect
import io
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO, TypeVar

import typer

from worker.core.escaping import visible_lines
from worker.errors import ConfigurationError, ExitCode, UsageError, WorkerError

if TYPE_CHECKING:
    from worker.app import App

T = TypeVar("T")


class _Visible(io.TextIOBase):
    """A stream of results: what would control a terminal is written out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text as ``visible_lines`` has it."""
        self._stream.write(visible_lines(text))
        return len(text)

    @property
    def buffer(self) -> BinaryIO:
        """The bytes below, for what is escaped already."""
        return self._stream.buffer

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()


_PANEL = "Configuration and output"


class CommonOptions:
    """The options of every command, as Typer reads them."""

    config_file = Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Configuration file; else $PTS_CONFIG, else config/worker.toml.",
            rich_help_panel=_PANEL,
        ),
    ]
    settings = Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any configuration key, e.g. --set sync.concurrency=4. Secrets are files, never "
            "flags.",
            rich_help_panel=_PANEL,
        ),
    ]
    log_level = Annotated[
        str | None,
        typer.Option("--log-level", help="DEBUG, INFO, WARNING or ERROR.", rich_help_panel=_PANEL),
    ]
    log_format = Annotated[
        str | None,
        typer.Option("--log-format", help="console or json.", rich_help_panel=_PANEL),
    ]
    as_json = Annotated[
        bool,
        typer.Option(
            "--json",
            help="One JSON document on standard output instead of text.",
            rich_help_panel=_PANEL,
        ),
    ]


_COMMON: Mapping[str, tuple[Any, Any]] = {
    "config_file": (CommonOptions.config_file, None),
    "settings": (CommonOptions.settings, None),
    "log_level": (CommonOptions.log_level, None),
    "log_format": (CommonOptions.log_format, None),
    "as_json": (CommonOptions.as_json, False),
}


class Cli:
    """One invocation: its common options, and what a command does with them."""

    def __init__(self, common: Mapping[str, Any]) -> None:
        self._common = common
        self.as_json: bool = common["as_json"]

    def load(
        self,
        purpose: str | None,
        flags: Mapping[str, object] | None = None,
        flag_names: Mapping[str, str] | None = None,
    ) -> "App":
        """The configured app; logging is set up on the way.

        Args:
            purpose: what the command is about to do (``worker.config.Purpose``).
            flags: the command's own flags by configuration key; ``None`` where not given.
            flag_names: their spelling, for messages.

        Raises:
            ConfigurationError: every fault of the configuration at once.
        """
        from worker.app import App
        from worker.config import load
        from worker.logs import configure
        from worker.runtime import real_runtime

        values, names = self._flags()
        given = {key: value for key, value in (flags or {}).items() if value is not None}
        values |= given
        names |= {key: name for key, name in (flag_names or {}).items() if key in given}
        _refuse_secrets(values)
        loaded = load(
            values,
            environ=os.environ,
            cwd=Path.cwd(),
            config_path=self._common["config_file"],
            flag_names=names,
            purpose=purpose,
        )
        configure(loaded.settings.log.level, loaded.settings.log.format)
        return App(loaded=loaded, runtime=real_runtime())

    def _flags(self) -> tuple[dict[str, object], dict[str, str]]:
        values: dict[str, object] = {}
        names: dict[str, str] = {}
        for pair in self._common["settings"] or ():
            key, equals, value = pair.partition("=")
            if not equals or "." not in key:
                raise UsageError(
                    "--set takes KEY=VALUE with a configuration key",
                    hint="for example --set sync.concurrency=4; `pts-worker config schema` has all",
                )
            values[key.strip()] = value
            names[key.strip()] = f"--set {key.strip()}"
        for key, option in (("log.level", "log_level"), ("log.format", "log_format")):
            if self._common[option] is not None:
                values[key] = self._common[option]
                names[key] = f"--{option.replace('_', '-')}"
        return values, names

    def emit(self, document: Mapping[str, Any], text: Callable[[], None]) -> None:
        """The command's result: the JSON document, or what ``text`` prints."""
        if self.as_json:
            print_json(document)
            return
        with _output_may_be_gone(), contextlib.redirect_stdout(_Visible(sys.stdout)):
            text()
            sys.stdout.flush()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run the command's coroutine to its end."""
        import anyio

        from worker.lean import imports_are_done

        imports_are_done()
        options = {"use_uvloop": True} if _has_uvloop() else {}
        return anyio.run(work, backend="asyncio", backend_options=options)


def add_command(
    group: typer.Typer, name: str, function: Callable[..., Any], help_text: str
) -> None:
    """Add a function of a ``Cli`` and its own options to a group, with the common options.

    Args:
        group: the program or a group of commands.
        name: the command's.
        function: the command.
        help_text: paragraphs with an empty line between them; where a line ends is of no matter.
    """
    # Typer keeps the line breaks of all paragraphs but the first.
    flowing = "\n\n".join(" ".join(part.split()) for part in help_text.split("\n\n"))
    group.command(name, help=flowing)(_with_common_options(function))


def _with_common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of a ``Cli`` and its own options into a command with the common options."""
    signature = inspect.signature(function)
    own = list(signature.parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    common = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in _COMMON.items()
    ]
    context = inspect.Parameter("context", keyword, annotation=typer.Context)

    def wrapper(*, context: typer.Context, **given: Any) -> Any:
        before = context.find_root().obj or {}
        chosen = {}
        for name, (_, default) in _COMMON.items():
            value = given.pop(name)
            if name == "settings":
                value = [*(before.get(name) or ()), *(value or ())]
            chosen[name] = value if value != default else before.get(name, default)
        return function(Cli(chosen), **given)

    functools.update_wrapper(wrapper, function)
    del wrapper.__dict__["__wrapped__"]
    parameters = [context, *(p.replace(kind=keyword) for p in own), *common]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _refuse_secrets(flags: Mapping[str, object]) -> None:
    """Everybody on the machine can read a process's arguments."""
    from worker.config.urls import has_password

    for key in ("database.url", "roster.url"):
        if isinstance(flags.get(key), str) and has_password(str(flags[key])):
            raise ConfigurationError(
                f"{key}: a password must not stand on the command line",
                hint=f"put it in a file and name it in {key.split('.')[0]}.password_file, or set "
                f"the URL in the environment",
            )


def _has_uvloop() -> bool:
    import importlib.util

    return importlib.util.find_spec("uvloop") is not None


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on standard output; times as ISO 8601 in UTC."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    # What orjson leaves as it is, such as U+009B, is no less JSON as an escape.
    text = visible_lines(orjson.dumps(document, option=options, default=str).decode())
    with _output_may_be_gone():
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _output_may_be_gone() -> Iterator[None]:
    """Let what a command did decide its exit code, and not who reads what it says of it.

    A reader that went away is no news (``| head``); a full disk is.
    """
    try:
        yield
    except OSError as error:
        # Python writes what is left in its buffer once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            reason = error.strerror or type(error).__name__
            print(f"pts-worker: standard output cannot be written: {reason}", file=sys.stderr)


def report_call(error: Any, *, as_json: bool) -> None:
    """A wrong call, as Typer tells it: it repeats what it was given, which may be an identifier."""
    from worker.logs import redact

    if as_json:
        report_error(UsageError(redact(error.format_message())), as_json=True)
        return
    shown = io.StringIO()
    error.show(file=shown)
    sys.stderr.write(redact(shown.getvalue()))


def report_error(error: WorkerError, *, as_json: bool) -> None:
    """An error with a name: what is wrong, where, and what to do."""
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    if as_json:
        print_json(
            {
                "error": {
                    "exit_code": int(error.exit_code),
                    "name": error.exit_code.name.lower(),
                    "message": error.message,
                    "hint": error.hint,
                    "problems": list(problems),
                }
            }
        )
        return
    lines = [f"pts-worker: {error.message}"]
    lines += [f"  - {problem}" for problem in problems if problem not in error.message]
    if error.hint:
        lines.append(f"  → {error.hint}")
    print(visible_lines("\n".join(lines)), file=sys.stderr)


def report_bug(error: BaseException, *, as_json: bool) -> None:
    """A bug: its traceback without values, and where to report it."""
    from worker.logs import safe_traceback

    print(safe_traceback(error), file=sys.stderr)
    bug = WorkerError(
        f"this is a bug ({type(error).__name__})",
        hint="please report it with the traceback above; it holds no personal values",
    )
    bug.exit_code = ExitCode.BUG
    report_error(bug, as_json=as_json)


def console(*, stderr: bool = False) -> Any:
    """A Rich console that keeps to NO_COLOR and to terminals."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)
