"""``sandbox``: serve the stand-ins for HelseID and PTS on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.base import Cli, add_command

_PORT_MAX = 65_535

HELP = """Serve stand-ins for HelseID and PTS on loopback, with synthetic persons.

They check what the real services check and refuse what those refuse. Writes a folder with a
roster, keys and a configuration that points at them.

A refused call is answered as NHN's sample API does, 401 with `Bearer error="invalid_token"`
whatever is wrong with the DPoP proof, or with `--challenge-style dpop` as RFC 9449 says.

`--faults` reads tables named `fault`; `config/sandbox-faults.toml` shows them. One replica of three
whose clock is ten minutes ahead: `action = "clock_skew"`, `skew_s = 600`, `replicas = 3`. What
chooses the replica is `replica_by`, each `request` or each `connection`. The control address takes
the same while the sandbox runs: `curl -H "Content-Type: application/json" -d '{"faults": []}' URL`.

Example: `pts-worker sandbox --folder demo --persons 200`, and in another terminal
`pts-worker --config demo/worker.toml db upgrade` and `pts-worker --config demo/worker.toml sync`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "sandbox", sandbox, HELP)


def sandbox(
    cli: Cli,
    *,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where roster, keys and configuration are written.")
    ] = Path("sandbox"),
    persons: Annotated[int, typer.Option("--persons", help="Persons on the roster.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same persons.")] = 1,
    generation: Annotated[
        int, typer.Option("--generation", help="Lets time pass: a little changes with each.")
    ] = 0,
    helseid_port: Annotated[int, typer.Option("--helseid-port", help="0: any free port.")] = 0,
    pts_port: Annotated[int, typer.Option("--pts-port", help="0: any free port.")] = 0,
    challenge_style: Annotated[
        str, typer.Option("--challenge-style", help="How PTS refuses a call: bearer or dpop.")
    ] = "bearer",
    paging: Annotated[str, typer.Option("--paging", help="How PTS's answers are paged.")] = "none",
    faults: Annotated[
        Path | None, typer.Option("--faults", help="TOML or JSON file with faults to show.")
    ] = None,
) -> int:
    """See ``HELP``."""
    from worker.errors import ConfigurationError, ExitCode, UsageError
    from worker.lean import imports_are_done

    try:
        from worker.sandbox.challenges import CHALLENGE_STYLES
        from worker.sandbox.faults import read_faults
        from worker.sandbox.files import write_setup
        from worker.sandbox.paging import STYLES
        from worker.sandbox.serve import RunningSandbox, SandboxOptions, serve_forever
    except ImportError as error:
        raise ConfigurationError(
            f"the sandbox is not installed ({error.name} is missing)",
            hint="`make install` in a checkout installs it (requirements-sandbox.lock)",
        ) from error
    for flag, value, known in (
        ("--challenge-style", challenge_style, CHALLENGE_STYLES),
        ("--paging", paging, STYLES),
    ):
        if value not in known:
            raise UsageError(f"{flag} is one of {', '.join(known)}")
    for flag, port in (("--helseid-port", helseid_port), ("--pts-port", pts_port)):
        if not 0 <= port <= _PORT_MAX:
            raise UsageError(f"{flag} is 0 (any free port) to {_PORT_MAX}")
    try:
        options = SandboxOptions(
            persons=persons,
            seed=seed,
            generation=generation,
            helseid_port=helseid_port,
            pts_port=pts_port,
            challenge_style=challenge_style,
            paging=paging,
            faults=read_faults(faults) if faults else [],
        )
        options = write_setup(folder, options)
    except (OSError, ValueError) as error:
        raise UsageError(f"sandbox: {error}") from error

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

    imports_are_done()
    try:
        serve_forever(options, ready)
    except OSError as error:
        raise UsageError(
            f"the sandbox cannot serve: {error.strerror or type(error).__name__}",
            hint="choose other ports (--helseid-port, --pts-port), or 0 for any free one",
        ) from error
    return ExitCode.OK
