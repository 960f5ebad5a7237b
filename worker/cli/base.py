"""What every command works with: the options of every command, the app, the event loop."""

import gc
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from worker.cli.output import print_json, print_text
from worker.errors import StoppedError

if TYPE_CHECKING:
    from worker.app import App

T = TypeVar("T")

_NEW_OBJECTS_MAX: Final = 5_000
"""So many are made before the garbage collector looks through them."""


class Cli:
    """One call of the program.

    Attributes:
        config_file: of ``--config``.
        as_json: of ``--json``.
        flags: values by configuration key.
        flag_names: the flag that each of them came from, for messages.
        keeps_code: the command ends with its own code although its result could not be written:
            what a run did is in the ledger.
        has_begun: it may have done something: its coroutine was started, or its result printed.
    """

    def __init__(self) -> None:
        self.config_file: Path | None = None
        self.as_json = False
        self.flags: dict[str, Any] = {}
        self.flag_names: dict[str, str] = {}
        self.keeps_code = False
        self.has_begun = False

    def set(self, key: str, value: object, *, flag: str) -> None:
        """Note the value of a configuration key."""
        self.flags[key] = value
        self.flag_names[key] = flag

    def load(self, purpose: str | None) -> "App":
        """The configured app; logging is set up on the way.

        Args:
            purpose: what the command is about to do (``worker.config.Purpose``).

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
            flag_names=self.flag_names,
            purpose=purpose,
        )
        configure(loaded.settings.log.level, loaded.settings.log.format)
        return App(loaded=loaded, runtime=real_runtime())

    def emit(self, result: Any, text: Callable[[], None]) -> None:
        """Print the command's result: as JSON (``print_json``), or what ``text`` prints."""
        self.has_begun = True
        if self.as_json:
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
        gc.enable()
        return anyio.run(work, backend="asyncio", backend_options={"use_uvloop": True})

    def stopped(self) -> StoppedError:
        """The error of a call that a signal, or the end of a terminal's input, has stopped."""
        if self.has_begun:
            return StoppedError("stopped")
        if sys.stdin.isatty():
            print(file=sys.stderr)  # a question has left the cursor in its line
        return StoppedError("stopped before it began; nothing was done")
