"""A running sandbox: both stand-ins on two loopback ports, and a folder to run the worker with."""

import contextlib
import json
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from worker.sandbox.clients import CLIENT_ID, Client
from worker.sandbox.helseid import HelseId
from worker.sandbox.jose import new_key_pair, signing_key
from worker.sandbox.people import roster
from worker.sandbox.pts import Pts
from worker.sandbox.web import Request, Response, Server, json_response, problem
from worker.sandbox.world import SandboxOptions, World

CONTROL: Final = "/_sandbox/control"
_StandIn: TypeAlias = Callable[[Request], tuple[str, Response, str]]


class RunningSandbox:
    """A running sandbox.

    Attributes:
        options: the options, with ports and addresses filled in.
        helseid: its stand-in for HelseID.
        control_url: the address for ``control`` as JSON by POST.
    """

    def __init__(self, options: SandboxOptions, at_helseid: Server, at_pts: Server) -> None:
        self.options = options.at_ports(at_helseid.port, at_pts.port)
        self.control_url = f"http://127.0.0.1:{at_pts.port}{CONTROL}"
        self._lock = threading.Lock()
        self._world = World(self.options)
        self.helseid = HelseId(self._world)
        pts = Pts(self._world, self.helseid.tokens)
        for server, handle in ((at_helseid, self.helseid.handle), (at_pts, pts.handle)):
            server.now = self._world.now
            server.answer = partial(self._answer, handle)

    def control(self, **changes: Any) -> dict[str, Any]:
        """Change the running sandbox, see ``World.apply``. Return settings and counts."""
        with self._lock:
            self._world.apply(changes)
            return self._world.settings()

    def _answer(self, handle: _StandIn, request: Request) -> Response:
        if request.path.startswith("/_sandbox/"):
            return self._control(request)
        # One request at a time: faults and counts then depend on the order of requests alone.
        with self._lock:
            where, response, fault = handle(request)
            self._world.counts.update((f"requests {where}", f"{where} {response.status}"))
            if fault:
                self._world.counts[f"fault {fault}"] += 1
        return response

    def _control(self, request: Request) -> Response:
        """Answer at the control address, which is on both ports. See ``control``."""
        if request.path != CONTROL or request.method not in {"GET", "POST"}:
            return problem(404)
        # Requiring JSON blocks cross-origin forms, which cannot send it.
        if request.method == "POST" and request.media_type != "application/json":
            return problem(415)
        try:
            changes = msgspec.json.decode(request.body) if request.method == "POST" else {}
            return json_response(self.control(**changes))
        except (ValueError, TypeError, OSError, RecursionError) as error:
            return problem(400, errors={"$": [str(error)]})


@contextlib.contextmanager
def running_sandbox(options: SandboxOptions) -> Iterator[RunningSandbox]:
    """Run a sandbox in threads of its own.

    Raises:
        OSError: a port is in use, or the contract cannot be read.
        ValueError: an option is invalid.
    """
    signing_key()  # created now, because it takes most of a second
    with Server(options.helseid_port) as at_helseid, Server(options.pts_port) as at_pts:
        sandbox = RunningSandbox(options, at_helseid, at_pts)
        servers = (at_helseid, at_pts)
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield sandbox
        finally:
            for server in servers:
                server.shutdown()


def serve_forever(options: SandboxOptions, on_ready: Callable[[RunningSandbox], None]) -> None:
    """Run a sandbox until SIGINT or SIGTERM. See ``running_sandbox``."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with running_sandbox(options) as sandbox:
        on_ready(sandbox)
        ended.wait()


DATABASE: Final = "pts.db"
_ROSTER: Final = "roster.csv"
_CLIENT_KEY: Final = "client-key.json"
_PSEUDONYM_KEY: Final = "pseudonym.key"
_CONFIG: Final = "worker.toml"
_Settings: TypeAlias = dict[str, dict[str, Any]]


def write_setup(folder: Path, options: SandboxOptions) -> SandboxOptions:
    """Write roster, keys and configuration into a folder, which is created if missing.

    Existing keys and an existing configuration are kept, so that a folder can be reused with its
    database. The returned options have ports and the client's public key.

    Raises:
        OSError: a port is in use, and nothing was written, or a file cannot be written.
        ValueError: an option is invalid, or differs from the existing configuration.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before anything is written: the folder may be that of a running sandbox.
    with Server(options.helseid_port) as at_helseid, Server(options.pts_port) as at_pts:
        options = options.at_ports(at_helseid.port, at_pts.port)
    config, key, pseudonym_key = (
        folder.resolve() / name for name in (_CONFIG, _CLIENT_KEY, _PSEUDONYM_KEY)
    )
    World(options)  # raises for invalid options
    settings = _settings(folder.resolve(), options)
    if config.exists():
        _check(config, settings)
    else:
        _write(config, _toml(settings))
    if not key.exists():
        _write(key, json.dumps(new_key_pair()[0], indent=2))
    if not pseudonym_key.exists():
        _write(pseudonym_key, secrets.token_hex())
    lines = map(",".join, roster(options.seed, options.persons))
    _write(folder / _ROSTER, "\n".join(("off_id,local_ref,cohort", *lines)))
    private = json.loads(key.read_text(encoding="utf-8"))
    public = {name: value for name, value in private.items() if name != "d"}
    return replace(options, clients=[Client(jwks=[public])])


def _write(path: Path, text: str) -> None:
    """Write a file with mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    # The mode above applies only to a new file.
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _check(config: Path, settings: _Settings) -> None:
    """Check that an existing configuration leads to this sandbox."""
    text = config.read_text(encoding="utf-8")
    # Searched as text, so that a file edited by hand is accepted too.
    needed = (settings["helseid"]["issuer"], *settings["api"].values())
    has_values = all(json.dumps(value) in text for value in needed)
    has_same_keys = ("contract_file" in text) == ("contract_file" in settings["api"])
    if not (has_values and has_same_keys):
        raise ValueError(
            f"{config} names other addresses, or another contract, than this sandbox: start the "
            "sandbox with the ports and the contract of the file, or remove the file"
        )


def _settings(folder: Path, options: SandboxOptions) -> _Settings:
    database = str(folder / DATABASE)
    return {
        "helseid": {
            "issuer": options.issuer,
            "client_id": CLIENT_ID,
            "private_jwk_file": str(folder / _CLIENT_KEY),
        },
        "api": {
            "base_url": options.pts_url,
            **({"contract_file": options.contract} if options.contract else {}),
        },
        "roster": {"path": str(folder / _ROSTER)},
        "privacy": {"pseudonym_key_file": str(folder / _PSEUDONYM_KEY)},
        # In a URL `?` would start parameters, and `%` an escape.
        "database": {"url": "sqlite:///" + database.replace("%", "%25").replace("?", "%3F")},
        # The stand-in's answer does not change within seconds, so a demo need not wait for 10 s.
        "sync": {"requests_per_second": 2000, "confirm_after": "1s"},
    }


def _toml(settings: _Settings) -> str:
    lines = ["# Written by `pts-worker sandbox`: points the worker at the sandbox on this machine."]
    for name, keys in settings.items():
        # A JSON string is also a TOML basic string.
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines)
