"""``sandbox``: serve the stand-ins for HelseID and PTS on loopback."""

from pathlib import Path
from typing import Any

from worker.cli.base import Cli
from worker.errors import ConfigurationError, UsageError, reason_of
from worker.sandbox.contract import DEFAULT
from worker.sandbox.faults import read_faults


def run(
    cli: Cli,
    *,
    folder: Path,
    contract: Path | None,
    faults: Path | None,
    **chosen: Any,
) -> None:
    """Run ``pts-worker sandbox``.

    Args:
        chosen: further fields of ``SandboxOptions``, each an option of that name.
    """
    cli.keeps_code = True
    try:
        from worker.sandbox.files import write_setup  # noqa: PLC0415 - an extra
        from worker.sandbox.serve import (  # noqa: PLC0415 - an extra
            RunningSandbox,
            SandboxOptions,
            serve_forever,
        )
    except ImportError as error:
        raise ConfigurationError(
            f"the sandbox is not installed ({error.name} is missing)",
            hint="`make install` in a checkout installs it (requirements/sandbox.lock)",
        ) from error
    try:
        options = SandboxOptions(
            **chosen,
            contract=contract or DEFAULT,
            faults=read_faults(faults) if faults else [],
        )
        options = write_setup(folder, options)
    except OSError as error:
        raise UsageError(
            f"sandbox: {error.filename or folder} cannot be used: {reason_of(error)}",
            hint="see `pts-worker sandbox --help` for its ports, --folder, --faults and the like",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"sandbox: {error}", hint="`pts-worker sandbox --help` shows what each option takes"
        ) from error

    def ready(running: RunningSandbox) -> None:
        cli.emit(
            {
                "sandbox": {
                    "issuer": running.issuer,
                    "base_url": running.base_url,
                    "control_url": running.control_url,
                    "client_id": running.client_id,
                    "config_file": str(folder / "worker.toml"),
                }
            },
            lambda: print(
                f"HelseID  {running.issuer}\nPTS      {running.base_url}\n"
                f"control  POST {running.control_url}control\n"
                f"try      pts-worker --config {folder / 'worker.toml'} db upgrade\n"
                f"         pts-worker --config {folder / 'worker.toml'} sync\n"
                "Ctrl-C ends it.",
                flush=True,
            ),
        )

    try:
        serve_forever(options, ready)
    except OSError as error:
        raise UsageError(
            f"the sandbox cannot serve: {error.filename or 'a port'}: "
            f"{error.strerror or type(error).__name__}",
            hint="choose other ports (--helseid-port, --pts-port), or 0 for any free one",
        ) from error
