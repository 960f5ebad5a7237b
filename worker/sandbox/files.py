"""What a newcomer needs to point the worker at a sandbox, in one folder."""

import contextlib
import csv
import json
import os
import secrets
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

from worker.sandbox.people import roster
from worker.sandbox.serve import SandboxOptions, new_key_pair

ROSTER: Final = "roster.csv"
CLIENT_KEY: Final = "client-key.json"
PSEUDONYM_KEY: Final = "pseudonym.key"
CONFIG: Final = "worker.toml"
DATABASE: Final = "pts.db"
_KEY_BYTES: Final = 32


def write_setup(folder: Path, options: SandboxOptions) -> SandboxOptions:
    """Write roster, keys and configuration, and return the options to serve with.

    Written are ``roster.csv`` (header ``off_id,local_ref``), ``client-key.json`` and
    ``pseudonym.key`` (mode 0600) and ``worker.toml``. Keys that are already there are kept, so that
    a folder can be used again with its database. Ports that are 0 are chosen now: the configuration
    must name them.

    Args:
        folder: made if it is not there.
        options: how the sandbox will be set up.

    Returns:
        The same options with the ports and the client's public key; give them to
        ``serve_forever``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ready = replace(_with_ports(options), client_jwks=[_client_key(folder / CLIENT_KEY)])
    if not (folder / PSEUDONYM_KEY).exists():
        _write_secret(folder / PSEUDONYM_KEY, secrets.token_bytes(_KEY_BYTES))
    write_roster(folder / ROSTER, options.seed, options.persons)
    with _open_private(folder / CONFIG) as file:
        file.write(_config(folder.resolve(), ready))
    return ready


def write_roster(path: Path, seed: int, count: int) -> None:
    """Write the roster of this seed as CSV, line by line."""
    with _open_private(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("off_id", "local_ref"))
        writer.writerows(roster(seed, count))


def _open_private(path: Path) -> TextIO:
    """Open a file of our own for writing, which nobody else can read."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(number, 0o600)
    return os.fdopen(number, "w", newline="", encoding="utf-8")


def _with_ports(options: SandboxOptions) -> SandboxOptions:
    """Free ports in place of 0; held together for a moment, so that they differ."""
    with contextlib.ExitStack() as stack:
        ports = []
        for port in (options.helseid_port, options.pts_port):
            family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
            holder = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if port == 0:
                holder.bind((options.host, 0))
                port = holder.getsockname()[1]  # noqa: PLW2901 - the one that was chosen
            ports.append(port)
    return replace(options, helseid_port=ports[0], pts_port=ports[1])


def _client_key(path: Path) -> dict[str, Any]:
    """The public key of the file, which is written if it is not there."""
    if path.exists():
        private = json.loads(path.read_text(encoding="utf-8"))
        return {name: value for name, value in private.items() if name != "d"}
    private, public = new_key_pair()
    _write_secret(path, json.dumps(private, indent=2).encode("ascii") + b"\n")
    return public


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _config(folder: Path, options: SandboxOptions) -> str:
    # JSON's strings are TOML's basic strings too.
    quoted = {
        name: json.dumps(str(value))
        for name, value in {
            "issuer": options.issuer,
            "self_service": options.helseid_url,
            "client_id": options.client_id,
            "key": folder / CLIENT_KEY,
            "constraint": options.sender_constraint,
            "base_url": options.pts_url,
            "roster": folder / ROSTER,
            "pseudonym": folder / PSEUDONYM_KEY,
            "database": f"sqlite:///{_in_url(folder / DATABASE)}",
        }.items()
    }
    return f"""\
# Written by `pts-worker sandbox`: points the worker at the sandbox on this machine.

[helseid]
issuer = {quoted["issuer"]}
self_service_url = {quoted["self_service"]}
client_id = {quoted["client_id"]}
private_jwk_file = {quoted["key"]}
sender_constraint = {quoted["constraint"]}
{_tenancy(options)}
[api]
base_url = {quoted["base_url"]}

[roster]
path = {quoted["roster"]}

[privacy]
pseudonym_key_file = {quoted["pseudonym"]}

[database]
url = {quoted["database"]}

[sync]
requests_per_second = 2000
"""


def _tenancy(options: SandboxOptions) -> str:
    if options.tenancy != "multi-tenant" or not options.delegations:
        return ""
    return f"""\
tenancy = "multi-tenant"
organization_parent = "{options.delegations[0]}"
"""


def _in_url(path: Path) -> str:
    """A path as it stands in a URL: `?` would begin parameters, and `%` a code."""
    return str(path).replace("%", "%25").replace("?", "%3F")
