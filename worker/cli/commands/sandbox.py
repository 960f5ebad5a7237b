"""``sandbox``: serve the stand-ins for HelseID and PTS on loopback."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from worker.cli import options
from worker.cli.output import plain, print_document
from worker.errors import UsageError, reason_of
from worker.sandbox.world import Action, Area

if TYPE_CHECKING:
    from worker.sandbox.serve import RunningSandbox

HELP = f"""Serve stand-ins for HelseID and PTS on loopback, with synthetic persons.

They perform the checks of the real services. The folder gets a roster, keys and a configuration for
the stand-ins. If you use a folder again, its keys and configuration are kept.

A refused call gets the answer of NHN's sample API: 401 with `Bearer error="invalid_token"`, for
every error of the DPoP proof.

Use the control address to change things while it runs: `curl -H "Content-Type: application/json"
-d '{{"generation": 1}}' URL` lets a night pass, `{{"reset": true}}` goes back to the start, as when
NHN resets its test environment, and `{{"faults": []}}` ends all faults.

Each of the `faults` is an object with an `action`: {", ".join(Action)}.
`area` is one of {", ".join(get_args(Area))}; the default is pts.
`persons` (roster lines, from 0), `every` (every nth request) and `times` (at most) choose the
requests, and `status`, `body`, `headers`, `slow_s` and `skew_s` define the answer. Example for two
persons: `{{"faults": [{{"action": "status", "status": 503, "persons": [3, 6]}}]}}`.

Requests and answers follow the contract (`contract show`). `--contract` sets another one, and
writes it to the configuration. A request that differs from the contract gets 400.

Example: `pts-worker sandbox --folder demo --persons 200`, and in another terminal
`pts-worker --config demo/worker.toml db upgrade` and `pts-worker --config demo/worker.toml sync`
"""

_NEXT = """
Next, in another terminal:
  export PTS_CONFIG={config}
  pts-worker db upgrade
  pts-worker sync
  pts-worker status
  pts-worker report --out report.html
Ctrl-C stops the sandbox; `pts-worker sandbox --help` shows how to let a night pass."""

_PORT = click.IntRange(0, 65_535)


@click.command("sandbox", cls=options.Command, help=HELP)
@click.option(
    "--folder",
    type=options.path,
    default="sandbox",
    help="Where to write roster, keys and configuration.",
)
@click.option("--persons", type=click.IntRange(min=0), default=200, help="Persons on the roster.")
@click.option("--seed", type=int, default=1, help="Same seed, same persons.")
@click.option("--helseid-port", type=_PORT, default=8801, help="0: any free port.")
@click.option("--pts-port", type=_PORT, default=8802, help="0: any free port.")
@click.option(
    "--contract",
    type=options.path,
    help="The contract with PTS to follow. Default: the program's own.",
)
@click.pass_obj
def command(cli: options.Cli, /, *, folder: Path, contract: Path | None, **values: Any) -> None:
    """Serve the stand-ins until stopped.

    Args:
        values: further fields of ``SandboxOptions``, each an option of that name.
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
        cli.emit({"sandbox": served}, lambda: _print(served))

    try:
        # Absolute, because relative paths in the configuration start at its folder.
        values["contract"] = str(contract.resolve()) if contract else ""
        serve_forever(write_setup(folder, SandboxOptions(**values)), ready)
    except (OSError, ValueError) as error:
        problem = str(error)
        if isinstance(error, OSError):
            problem = f"{error.filename or 'a port'} cannot be used: {reason_of(error)}"
        raise UsageError(
            f"sandbox: {problem}",
            hint="`pts-worker sandbox --help` describes the ports, --folder and --contract",
        ) from error


def _print(served: Mapping[str, Any]) -> None:
    print_document(plain(served))
    print(_NEXT.format(config=shlex.quote(str(served["config_file"]))))
