"""Write a folder with everything to run the worker against a sandbox."""

import contextlib
import csv
import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import urlsplit

from worker.sandbox.contract import DEFAULT
from worker.sandbox.people import clinic, roster
from worker.sandbox.serve import SandboxOptions, bind, new_key_pair

ROSTER: Final = "roster.csv"
CLIENT_KEY: Final = "client-key.json"
PSEUDONYM_KEY: Final = "pseudonym.key"
CONFIG: Final = "worker.toml"
DATABASE: Final = "pts.db"
_KEY_BYTES: Final = 32


def write_setup(folder: Path, options: SandboxOptions) -> SandboxOptions:
    """Write roster, keys and configuration.

    Writes ``roster.csv`` (header ``off_id,local_ref,cohort``), ``client-key.json``,
    ``pseudonym.key`` (mode 0600) and ``worker.toml``. Existing keys and an existing configuration
    are kept, so that a folder can be reused with its database. A port of 0 is replaced by that of
    the configuration, or else by a free one. The worker is given the contract by which the sandbox
    answers.

    Args:
        folder: created if missing.

    Returns:
        The options with ports and the client's public key, for ``serve_forever``.

    Raises:
        OSError: a port is in use, and nothing was written; or a file cannot be written.
        ValueError: the existing configuration names other addresses, or another contract, than the
            options.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = _as_configured(folder / CONFIG, options)
    with contextlib.ExitStack() as stack:
        # Before anything is written: the folder may be that of a running sandbox.
        ports = [stack.enter_context(opened).getsockname()[1] for opened in bind(options)]
        return _write(folder, replace(options, helseid_port=ports[0], pts_port=ports[1]))


def _write(folder: Path, options: SandboxOptions) -> SandboxOptions:
    config = folder / CONFIG
    ready = replace(options, client_jwks=[_client_key(folder / CLIENT_KEY)])
    if not (folder / PSEUDONYM_KEY).exists():
        _write_secret(folder / PSEUDONYM_KEY, secrets.token_bytes(_KEY_BYTES))
    write_roster(folder / ROSTER, options.seed, options.persons)
    if config.exists():
        config.chmod(0o600)
    else:
        with _open_private(config) as file:
            file.write(_config(folder.resolve(), ready))
    return ready


def _as_configured(config: Path, options: SandboxOptions) -> SandboxOptions:
    """Ports and contract of an existing configuration, where the options leave them open."""
    if not config.exists():
        return options
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
        addresses = (document["helseid"]["issuer"], document["api"]["base_url"])
        ports = tuple(urlsplit(address).port or 0 for address in addresses)
        named = document["api"].get("contract_file", "")
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(
            f"{config} does not name the sandbox's helseid.issuer and api.base_url; correct it, or "
            "remove it to have a new one"
        ) from None
    asked = (options.helseid_port or ports[0], options.pts_port or ports[1])
    if asked != ports:
        raise ValueError(
            f"{config} has the ports {ports[0]} and {ports[1]}; leave the ports out, or remove "
            "the file to have a new one"
        )
    options = replace(options, helseid_port=ports[0], pts_port=ports[1])
    if named and options.contract == DEFAULT:
        options = replace(options, contract=config.parent / named)
    if _contract_file(options) != (named and str((config.parent / named).resolve())):
        raise ValueError(f"{config} has another contract; remove the file to have a new one")
    return options


def _contract_file(options: SandboxOptions) -> str:
    """The file of the contract; empty for the one that comes with the program."""
    source = options.contract
    if isinstance(source, Mapping) or source == DEFAULT:
        return ""
    return str(Path(source).resolve())


def write_roster(path: Path, seed: int, count: int) -> None:
    """Write the roster of this seed as CSV, streamed."""
    with _open_private(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("off_id", "local_ref", "cohort"))
        writer.writerows((*line, clinic(index)) for index, line in enumerate(roster(seed, count)))


def _open_private(path: Path) -> TextIO:
    """Open a file for writing, with mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w", newline="", encoding="utf-8")


def _client_key(path: Path) -> dict[str, Any]:
    """The public key of the key file, which is created if missing."""
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
    sections: dict[str, dict[str, Any]] = {
        "helseid": {
            "issuer": options.issuer,
            "client_id": options.client_id,
            "private_jwk_file": str(folder / CLIENT_KEY),
        },
        "api": {"base_url": options.pts_url},
        "roster": {"path": str(folder / ROSTER)},
        "privacy": {"pseudonym_key_file": str(folder / PSEUDONYM_KEY)},
        "database": {"url": f"sqlite:///{_in_url(folder / DATABASE)}"},
        # The stand-in says the same a second later; nobody at a demo should wait longer.
        "sync": {"requests_per_second": 2000, "confirm_after": "1s"},
    }
    if contract := _contract_file(options):
        sections["api"]["contract_file"] = contract
    lines = ["# Written by `pts-worker sandbox`: points the worker at the sandbox on this machine."]
    for name, keys in sections.items():
        # A JSON string is also a TOML basic string.
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _in_url(path: Path) -> str:
    """Escape a path for a database URL: `?` would start parameters, and `%` an escape."""
    return str(path).replace("%", "%25").replace("?", "%3F")
