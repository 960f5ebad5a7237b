"""Sandbox options, and the state that can change while it runs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, get_type_hints
from urllib.parse import unquote

import msgspec

from worker.sandbox.challenges import BEARER, CHALLENGE_STYLES
from worker.sandbox.clients import Client, Registration, register
from worker.sandbox.contract import DEFAULT, Contract, ContractSource, read_contract
from worker.sandbox.fault_responses import fault_response
from worker.sandbox.faults import Action, Fault, FaultPlan, Target, has_action
from worker.sandbox.ledger import Ledger
from worker.sandbox.people import Population
from worker.sandbox.render import Renderer
from worker.sandbox.web import Response

CLIENT_ID: Final = "5a0dba11-0000-4000-8000-000000000001"
_PLAIN: Final = Client(client_id=CLIENT_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Options of a sandbox. The same options give the same responses.

    Attributes:
        seed: determines persons and restrictions.
        persons: number of persons on the roster; other identifiers get ``[]``.
        host: a loopback address.
        helseid_port, pts_port: 0 selects a free port.
        public_helseid_url, public_pts_url: scheme, host and port under which clients reach the
            stand-ins through a proxy. The issuer and ``htu`` use them. Empty: the sandbox's own.
        issuer_path: path of the issuer; may be empty.
        client_id, client_jwks: the registered client and its public keys. Without keys, the running
            sandbox creates a key pair.
        client: what else is registered of it.
        clients: further clients.
        faults: see ``Fault``; tables or objects.
        generation: the version of the world; a higher one has changed restrictions.
        contract: by which PTS asks and answers: a TOML file, or what stands in one.
        page_size: records of a page, if the contract has pages.
        rs_nonce: PTS requires a nonce in the DPoP proof.
        challenge_style: how PTS refuses a request. ``bearer``: like NHN's sample, 401 with
            ``Bearer error="invalid_token"`` for every invalid proof. ``dpop``: like RFC 9449, with
            ``DPoP error="invalid_dpop_proof"`` or ``use_dpop_nonce``.
        clock_skew_s: how far the stand-ins' clock is ahead; negative: behind.
    """

    seed: int = 1
    persons: int = 200
    host: str = "127.0.0.1"
    helseid_port: int = 0
    pts_port: int = 0
    public_helseid_url: str = ""
    public_pts_url: str = ""
    issuer_path: str = "/helseid"
    client_id: str = CLIENT_ID
    client_jwks: Sequence[Mapping[str, Any]] = ()
    client: Client = _PLAIN
    clients: Sequence[Client] = ()
    faults: Sequence[Mapping[str, Any] | Fault] = ()
    generation: int = 0
    contract: ContractSource = DEFAULT
    page_size: int = 2
    token_lifetime_s: int = 600
    rs_nonce: bool = False
    challenge_style: str = BEARER
    clock_skew_s: float = 0.0

    @property
    def helseid_url(self) -> str:
        """The base URL of HelseID for clients, without a path."""
        return self.public_helseid_url.rstrip("/") or self._url(self.helseid_port)

    @property
    def pts_url(self) -> str:
        """The base URL of PTS for clients."""
        return self.public_pts_url.rstrip("/") or self._url(self.pts_port)

    @property
    def issuer(self) -> str:
        """HelseID's issuer."""
        return f"{self.helseid_url}/{self.issuer_path.strip('/')}".rstrip("/")

    def _url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"

    def registered_clients(self) -> list[Client]:
        """All registered clients."""
        main = replace(self.client, client_id=self.client_id, jwks=tuple(self.client_jwks))
        return [main, *self.clients]


_SETTABLE: Final = (
    "generation", "persons", "contract", "page_size", "clock_skew_s", "token_lifetime_s",
    "rs_nonce", "challenge_style", "client_jwks",
)  # fmt: skip
_TYPES: Final = get_type_hints(SandboxOptions)


@dataclass(slots=True)
class World:
    """The state shared by both stand-ins. Changed only in the server's thread.

    Attributes:
        options: as changed by ``apply``.
        clock: seconds since 1970, without the skew.
        initial: as at the start.
        registrations: the clients and their keys, by client id.

    Raises:
        ValueError: an option is invalid.
    """

    options: SandboxOptions
    clock: Callable[[], float] = time.time
    token_epoch: int = 0
    initial: SandboxOptions = field(init=False)
    faults: FaultPlan = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    people: Population = field(init=False)
    contract: Contract = field(init=False)
    renderers: dict[str, Renderer] = field(init=False)
    registrations: dict[str, Registration] = field(init=False)

    def __post_init__(self) -> None:
        self.initial = self.options
        self.apply(self._at_first())

    def _at_first(self) -> dict[str, Any]:
        return {name: getattr(self.initial, name) for name in (*_SETTABLE, "faults")}

    def area_at(self, path: str) -> str | None:
        """The area with this path; None if there is none."""
        found = (area for area, declared in self.contract.items() if unquote(declared.path) == path)
        return next(found, None)

    def now(self, fault: Fault | None = None) -> float:
        """The stand-ins' clock: seconds since 1970. A fault may have it wrong."""
        now_s = self.clock() + self.options.clock_skew_s
        return now_s + fault.skew_s if has_action(fault, Action.CLOCK_SKEW) else now_s

    def strike(self, target: Target, url: str) -> tuple[Fault | None, Response | None]:
        """The fault that affects this request before it is checked, and its response.

        The response is None unless the fault replaces the normal one.
        """
        fault = self.faults.pick(target, before_checks=True)
        return fault, None if fault is None else fault_response(fault, url, self.now())

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Change settings of the running sandbox: all of them, or none on an error.

        ``faults`` replaces the list; ``revoke_tokens`` invalidates all tokens issued so far;
        ``clear`` empties the ledger; ``reset`` makes everything as it was at the start, before the
        other changes, as NHN resets its test environment. The other keys are options.

        Raises:
            ValueError: an unknown key or an invalid value.
        """
        for name, value in changes.items():
            _check(name, value)
        if changes.get("reset"):
            changes = {**self._at_first(), "revoke_tokens": True, **changes}
        changed = {name: value for name, value in changes.items() if name in _SETTABLE}
        options = replace(self.options, **changed)
        people = Population(options.seed, options.persons)
        contract = read_contract(options.contract) if "contract" in changes else self.contract
        renderers = {area: Renderer(area, declared) for area, declared in contract.items()}
        if "faults" in changes:
            self.faults = FaultPlan.of(changes["faults"])
        self.options, self.people = options, people
        self.contract, self.renderers = contract, renderers
        if "client_jwks" in changes:
            clients = options.registered_clients()
            self.registrations = {client.client_id: register(client) for client in clients}
        if changes.get("revoke_tokens"):
            self.token_epoch += 1
        if changes.get("clear"):
            self.ledger.clear()

    def settings(self) -> dict[str, Any]:
        """The current settings."""
        contract = self.options.contract
        return {name: getattr(self.options, name) for name in _SETTABLE} | {
            "contract": contract if isinstance(contract, Mapping) else str(contract),
            "faults": [str(fault.action) for fault in self.faults.faults],
            "faults_struck": self.faults.struck(),
        }


def _check(name: str, value: object) -> None:
    if name in {"contract", "faults", "revoke_tokens", "clear", "reset"}:
        return
    if name not in _SETTABLE:
        raise ValueError(f"cannot set {name!r}; settings are {', '.join(sorted(_SETTABLE))}")
    try:
        msgspec.convert(value, _TYPES[name])
    except msgspec.ValidationError:
        raise ValueError(f"{name} has the wrong type") from None
    if name == "challenge_style" and value not in CHALLENGE_STYLES:
        raise ValueError(f"challenge_style must be one of {', '.join(CHALLENGE_STYLES)}")
    if name == "page_size" and isinstance(value, int) and value < 1:
        raise ValueError("page_size must be at least 1")
