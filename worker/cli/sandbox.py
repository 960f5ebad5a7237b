"""``sandbox``: serve the stand-ins for HelseID and PTS on loopback."""

from pathlib import Path

import click

from worker.cli.base import Cli, subcommand
from worker.cli.options import FilePath
from worker.errors import ConfigurationError, ExitCode, UsageError
from worker.sandbox.challenges import CHALLENGE_STYLES
from worker.sandbox.faults import AREAS, Action, read_faults
from worker.sandbox.own_restrictions import read_own_restrictions
from worker.sandbox.paging import STYLES

_ACTIONS = ", ".join(Action)
_AREAS = ", ".join(AREAS)
HELP = f"""Serve stand-ins for HelseID and PTS on loopback, with synthetic persons.

They check what the real services check and refuse what those refuse. Writes a folder with a
roster, keys and a configuration that points at them; started again on that folder, it keeps keys,
configuration and ports.

A refused call is answered as NHN's sample API does, 401 with `Bearer error="invalid_token"`
whatever is wrong with the DPoP proof, or with `--challenge-style dpop` as RFC 9449 says.

`--faults` is a TOML file with tables `[[fault]]`, or a JSON list. Each has an `action`: {_ACTIONS}.
Where: `area`, one of {_AREAS}; default pts. When: `nth`, `every`, `first`, `times` (numbers of
requests), `share` (of persons), `persons` (lines of the roster, from 0). With what: `status`,
`body`, `retry_after_s`, `slow_s`, `skew_s`, `lifetime_s`. Two persons who cannot be read: `action =
"status"`, `status = 503`, `persons = [3, 6]`. One replica of three whose clock is ten minutes
ahead: `action = "clock_skew"`, `skew_s = 600`, `replicas = 3`; what chooses it is `replica_by`,
each `request` or each `connection`.

The control address takes the same while the sandbox runs: `curl -H "Content-Type:
application/json" -d '{{"faults": []}}' URL`. `{{"generation": 1}}` lets a night pass.

`--restrictions` is a JSON file with persons of your own, who are added to the roster:
`{{"IDENTIFIER": {{"patient-safety": [{{"confidentialityCode": "N"}}], "patient-privacy": []}}}}`.
What a restriction leaves out is filled in. Synthetic identifiers only.

Example: `pts-worker sandbox --folder demo --persons 200`, and in another terminal
`pts-worker --config demo/worker.toml db upgrade` and `pts-worker --config demo/worker.toml sync`
"""


_PORT = click.IntRange(0, 65_535)


@subcommand("sandbox", HELP)
@click.option(
    "--folder",
    type=FilePath(),
    default="sandbox",
    help="Where roster, keys and configuration are written.",
)
@click.option("--persons", type=int, default=200, help="Persons on the roster.")
@click.option("--seed", type=int, default=1, help="Same seed, same persons.")
@click.option(
    "--generation", type=int, default=0, help="Lets time pass: a little changes with each."
)
@click.option("--helseid-port", type=_PORT, default=0, help="0: any free port.")
@click.option("--pts-port", type=_PORT, default=0, help="0: any free port.")
@click.option(
    "--challenge-style",
    type=click.Choice(CHALLENGE_STYLES),
    default="bearer",
    help="How PTS refuses a call: bearer or dpop.",
)
@click.option(
    "--paging", type=click.Choice(STYLES), default="none", help="How PTS's answers are paged."
)
@click.option("--faults", type=FilePath(), help="TOML or JSON file with faults to show.")
@click.option("--restrictions", type=FilePath(), help="JSON file with persons of your own.")
def command(
    cli: Cli,
    *,
    folder: Path,
    persons: int,
    seed: int,
    generation: int,
    helseid_port: int,
    pts_port: int,
    challenge_style: str,
    paging: str,
    faults: Path | None,
    restrictions: Path | None,
) -> int:
    """See ``HELP``."""
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
            hint="`make install` in a checkout installs it (requirements-sandbox.lock)",
        ) from error
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
            own=read_own_restrictions(restrictions) if restrictions else {},
        )
        options = write_setup(folder, options)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"sandbox: {error.filename or folder} cannot be used: {reason}",
            hint="see `pts-worker sandbox --help` for --folder, --faults and --restrictions",
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
            f"the sandbox cannot serve: {error.strerror or type(error).__name__}",
            hint="choose other ports (--helseid-port, --pts-port), or 0 for any free one",
        ) from error
    return ExitCode.OK
