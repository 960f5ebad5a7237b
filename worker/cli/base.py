"""What every command works with: the configured app, the event loop, the result."""

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import click

from worker.cli.options import Given
from worker.cli.output import print_json, print_text
from worker.config.urls import has_password
from worker.errors import ConfigurationError, ExitCode, StoppedError
from worker.streams import is_output_lost

if TYPE_CHECKING:
    from worker.app import App

T = TypeVar("T")

_NEW_OBJECTS_MAX: Final = 5_000
"""So many are made before the garbage collector looks through them."""


class Cli:
    """One call of a command.

    Attributes:
        keeps_code: the command ends with its own code although its result could not be written:
            what a run did is in the ledger.
        has_begun: it may have done something: its coroutine was started, or its result printed.
    """

    def __init__(self, common: Given) -> None:
        self.given = common
        self.keeps_code = False
        self.has_begun = False

    def load(self, purpose: str | None) -> "App":
        """The configured app; logging is set up on the way.

        Args:
            purpose: what the command is about to do (``worker.config.Purpose``).

        Raises:
            ConfigurationError: every fault of the configuration at once.
        """
        # A command that needs no configuration starts sooner.
        from worker.app import App  # noqa: PLC0415
        from worker.config import load  # noqa: PLC0415
        from worker.logs import configure  # noqa: PLC0415
        from worker.runtime import real_runtime  # noqa: PLC0415

        refuse_secrets(self.given.flags)
        loaded = load(
            self.given.flags,
            environ=os.environ,
            cwd=Path.cwd(),
            config_path=self.given.config_file,
            flag_names=self.given.flag_names,
            purpose=purpose,
        )
        configure(loaded.settings.log.level, loaded.settings.log.format)
        return App(loaded=loaded, runtime=real_runtime())

    def emit(self, result: Any, text: Callable[[], None]) -> None:
        """Print the command's result: as JSON (``print_json``), or what ``text`` prints."""
        self.has_begun = True
        if self.given.as_json:
            print_json(result)
        else:
            print_text(text)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run the command's coroutine to its end.

        What is imported by now is never garbage, and is not looked through again and again: a
        part of the processor time of a run.
        """
        self.has_begun = True
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS_MAX)
        return anyio.run(work, backend="asyncio", backend_options={"use_uvloop": True})


def call(runs: str, common: Given, values: Mapping[str, Any]) -> int:
    """Run a command.

    Args:
        runs: ``module:function`` (``worker.cli.options.command``).
        common: what the call gives for every command.

    Returns:
        Its exit code.

    Raises:
        StoppedError: a signal or the end of a terminal's input stopped it.
    """
    module, _, name = runs.partition(":")
    cli = Cli(common)
    try:
        with _no_collection():
            run = getattr(import_module(module), name)
        code: int = run(cli, **values) or ExitCode.OK
    except (SystemExit, KeyboardInterrupt, click.Abort) as stopped:
        if isinstance(stopped, SystemExit) and stopped.code != ExitCode.STOPPED:
            raise
        if not cli.has_begun and sys.stdin.isatty():
            print(file=sys.stderr)  # a question has left the cursor in its line
        raise StoppedError(
            "stopped" if cli.has_begun else "stopped before it began; nothing was done"
        ) from None
    if code == ExitCode.OK and is_output_lost() and not cli.keeps_code:
        return ExitCode.CONFIGURATION
    return code


@contextmanager
def _no_collection() -> Iterator[None]:
    """For imports: the collector took a tenth of their time, and what they make stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def refuse_secrets(flags: Mapping[str, object]) -> None:
    """Refuse passwords in flags: everybody on the machine can read a process's arguments.

    Raises:
        ConfigurationError: which key holds one, and where it belongs.
    """
    for key in ("database.url", "roster.url"):
        if isinstance(flags.get(key), str) and has_password(str(flags[key])):
            raise ConfigurationError(
                f"{key}: a password must not stand on the command line",
                hint=f"put it in a file and name it in {key.split('.')[0]}.password_file, or set "
                f"the URL in the environment",
            )
