"""``sandbox``: serve the stand-ins for HelseID and PTS on loopback."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from worker.cli import options
from worker.errors import UsageError, reason_of
from worker.sandbox.world import Action, Area

if TYPE_CHECKING:
    from worker.sandbox.serve import RunningSandbox

HELP = f"""Serve stand-ins for HelseID and PTS on loopback, with synthetic persons.

They check what the real services check and refuse what those refuse. Writes a folder with a
roster, keys and a configuration that points at them; started again on that folder, it keeps
keys and configuration.

A refused call is answered as NHN's sample API does, 401 with `Bearer error="invalid_token"`
whatever is wrong with the DPoP proof.

The control address changes it while it runs: `curl -H "Content-Type: application/json" -d
'{{"generation": 1}}' URL` lets a night pass; `{{"reset": true}}` makes everything as it was at the
start, as NHN resets its test environment; `{{"faults": []}}` ends all faults.

Each of the `faults` is an object with an `action`: {", ".join(Action)}.
Where: `area`, one of {", ".join(get_args(Area))}; default pts.
For whom and when: `persons` (lines of the roster, from 0), `every` (nth request), `times` (at
most). With what: `status`, `body`, `headers`, `slow_s`, `skew_s`. Two persons who cannot be read:
`{{"faults": [{{"action": "status", "status": 503, "persons": [3, 6]}}]}}`.

PTS is asked and answers as the contract says (`contract show`); `--contract` names another one,
which the configuration gets as well. What a request has more or less than the contract is 400.

Example: `pts-worker sandbox --folder demo --persons 200`, and in another terminal
`pts-worker --config demo/worker.toml db upgrade` and `pts-worker --config demo/worker.toml sync`
"""

_PORT = click.IntRange(0, 65_535)


@click.command("sandbox", cls=options.Command, help=HELP)
@click.option(
    "--folder",
    type=options.path,
    default="sandbox",
    help="Where roster, keys and configuration are written.",
)
@click.option("--persons", type=click.IntRange(min=0), default=200, help="Persons on the roster.")
@click.option("--seed", type=int, default=1, help="Same seed, same persons.")
@click.option("--helseid-port", type=_PORT, default=8801, help="0: any free port.")
@click.option("--pts-port", type=_PORT, default=8802, help="0: any free port.")
@click.option(
    "--contract",
    type=options.path,
    help="The contract with PTS by which it answers. Default: the one of the program.",
)
@click.pass_obj
def command(cli: options.Cli, /, *, folder: Path, contract: Path | None, **chosen: Any) -> None:
    """Serve them until stopped.

    Args:
        chosen: further fields of ``SandboxOptions``, each an option of that name.
    """
    from worker.sandbox.serve import serve_forever, write_setup
    from worker.sandbox.world import SandboxOptions

    cli.keeps_code = True

    def ready(running: "RunningSandbox") -> None:
        served = {
            "issuer": running.options.issuer,
            "base_url": running.options.pts_url,
            "control_url": running.control_url,
            "client_id": running.options.clients[0].client_id,
            "config_file": folder / "worker.toml",
        }
        cli.emit({"sandbox": served})

    try:
        chosen["contract"] = str(contract.resolve()) if contract else ""
        serve_forever(write_setup(folder, SandboxOptions(**chosen)), ready)
    except (OSError, ValueError) as error:
        what = str(error)
        if isinstance(error, OSError):
            what = f"{error.filename or 'a port'} cannot be used: {reason_of(error)}"
        raise UsageError(
            f"sandbox: {what}",
            hint="`pts-worker sandbox --help` has its ports, --folder and --contract",
        ) from error
