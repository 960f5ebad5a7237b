"""HelseID and PTS on a raw socket, so that any bytes can be answered.

One loopback port. The sandbox's own handlers check assertions, tokens and proofs, and give tokens;
what they refuse is kept in ``violations``. What HelseID says instead, and what PTS answers, is each
test's to say.
"""

import contextlib
import hashlib
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import jwskate
import msgspec

from tests.support.program import Installation, install
from tests.support.raw_server import RawServer, Reply, http, scripted_server
from tests.support.raw_server import Request as RawRequest
from worker.sandbox.access import AccessChecker
from worker.sandbox.clients import Client
from worker.sandbox.helseid import HelseId
from worker.sandbox.jose import new_key_pair
from worker.sandbox.web import RefusedError, Request, Response
from worker.sandbox.world import SandboxOptions, World

SAFETY, PRIVACY = "patient-safety", "patient-privacy"
CLIENT_ID = "c0ffee00-0000-4000-8000-000000000007"
PATHS = {
    "/v0.5/access-restrictions/patient-safety/_search": SAFETY,
    "/access-restrictions/patient-privacy/_search": PRIVACY,
}

Records = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A search that passed the checks, with the token that it came with."""

    off_id: str
    area: str
    token: str
    target: str
    fields: Mapping[str, Any]
    records: Records
    url: str


Answerer = Callable[[Ask], Reply]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A search, and how it came: by which connection, as its how many-th request, and when."""

    off_id: str
    area: str
    connection: int
    place: int
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A token request, with the claims of its assertion and of its proof."""

    form: dict[str, str]
    assertion: dict[str, Any]
    proof: dict[str, Any] | None

    @classmethod
    def of(cls, request: Request) -> "Seen":
        form = dict(parse_qsl(request.body.decode()))
        proof = request.header("dpop")
        return cls(
            form=form,
            assertion=dict(jwskate.SignedJwt(form["client_assertion"]).claims),
            proof=None if proof is None else dict(jwskate.SignedJwt(proof).claims),
        )


@dataclass(kw_only=True)
class Standin:
    """HelseID, whose checks are the sandbox's, and a PTS that answers as it is scripted.

    Attributes:
        port: of loopback.
        helseid_origin: under which other name HelseID is found; empty: under the one of PTS.
        token_reply, discovery_reply: what HelseID says instead of a token, or its description.
        token_replies, discovery_replies: what it says instead to the next requests, before that.
        token_more, discovery_more: further fields of those answers.
        meanwhile: called while HelseID makes a token.
        requests: those to HelseID, as they came in; ``seen`` has the claims of those for a token.
        tokens: those that were given.
        violations: what was refused, but for a missing nonce.
        people: restrictions by identifier and area.
        script: how to answer some, instead of with their restrictions; the key's area may be
            empty for both.
        everybody: how to answer everyone who has no script.
        paths: the area of each path.
        asked: every search that passed the checks, as (identifier, area).
        heard: the same, each with its connection and time.
        pushed: whatever was sent below ``/pushed``.
        delay_s: how long each search takes.
    """

    origin: str = ""
    helseid_origin: str = ""
    port: int = 0
    token_reply: Reply | None = None
    discovery_reply: Reply | None = None
    token_replies: list[Reply] = field(default_factory=list)
    discovery_replies: list[Reply] = field(default_factory=list)
    token_more: dict[str, Any] = field(default_factory=dict)
    discovery_more: dict[str, Any] = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None
    requests: list[Request] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    people: dict[str, dict[str, Records]] = field(default_factory=dict)
    script: dict[tuple[str, str], Answerer] = field(default_factory=dict)
    everybody: Answerer | None = None
    paths: dict[str, str] = field(default_factory=PATHS.copy)
    asked: list[tuple[str, str]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    pushed: list[bytes] = field(default_factory=list)
    delay_s: float = 0.0
    private_jwk: dict[str, Any] = field(default_factory=dict)
    world: World = field(init=False)
    helseid: HelseId = field(init=False)
    _access: AccessChecker = field(init=False)
    _at: tuple[int, int] = (0, 0)

    @property
    def issuer(self) -> str:
        return f"{self.helseid_origin or self.origin}/sts"

    @property
    def endpoint(self) -> str:
        return f"{self.issuer}/connect/token"

    @property
    def seen(self) -> list[Seen]:
        return [Seen.of(request) for request in self.requests if request.method == "POST"]

    @property
    def discoveries(self) -> int:
        return sum(request.method == "GET" for request in self.requests)

    @property
    def jtis(self) -> list[str]:
        """Every ``jti`` of assertions and proofs."""
        claims = [(seen.assertion, seen.proof) for seen in self.seen]
        return [each["jti"] for pair in claims for each in pair if each]

    def install(self, folder: Path, database_url: str, **sync: Any) -> Installation:
        """A worker that reads this stand-in; the roster is everyone, with local references."""
        made = install(
            folder,
            database_url=database_url,
            issuer=self.issuer,
            base_url=self.origin,
            client_id=CLIENT_ID,
            client_key=self.private_jwk,
        )
        made.configure(sync=sync)
        made.roster(*self.lines())
        return made

    def lines(self) -> list[str]:
        return [f"{off_id},{ref_of(off_id)}" for off_id in self.people]

    def count(self) -> Counter[tuple[str, str]]:
        return Counter(self.asked)

    def begin(self, origin: str, options: SandboxOptions, clock: Callable[[], float]) -> None:
        """Answer below this origin, and check for it, from now on."""
        self.origin = origin
        chosen = msgspec.structs.replace(options, issuer=self.issuer, pts_url=origin)
        self.world = World(chosen, clock=clock)
        self.helseid = HelseId(self.world)
        self._access = AccessChecker(self.world, self.helseid.tokens)

    def register(self) -> SandboxOptions:
        """The options of a sandbox that knows a client of this stand-in's making."""
        self.private_jwk, public = new_key_pair()
        client = Client(client_id=CLIENT_ID, jwks=[public])
        return SandboxOptions(persons=0, clients=[client], token_lifetime_s=300)

    def fault(self, action: str, *, area: str = "token", **settings: Any) -> None:
        """Let the sandbox's HelseID have this fault, and no other."""
        self.world.apply({"faults": [{"action": action, "area": area, **settings}]})

    def receive(self, raw: RawRequest) -> Reply:
        """Answer a request as it came in."""
        self._at = (raw.connection, raw.place)
        method, target, _ = raw.line.split(" ", 2)
        path, _, query = target.partition("?")
        return self.handle(Request(method, path, query, [*raw.fields], raw.body))

    def handle(self, request: Request) -> Reply:
        path = request.path
        if path.startswith("/sts/"):
            return self._dated(self._helseid(request))
        if path.startswith("/pushed"):
            line = f"{request.method} {_target(request)}\n"
            self.pushed.append(line.encode() + request.body)
            return http(b"")
        area = self.paths.get(path)
        if area is None:
            return http({"title": "no such path"}, status="404 Not Found")
        refusal = self.denied(request)
        return refusal or self._search(area, request)

    def denied(self, request: Request) -> Reply | None:
        """The refusal of a request without a token for PTS or a proof of its own."""
        try:
            self._access.check(request, None)
        except RefusedError as refused:
            self.violations.append(refused.reason)
            return _reply(refused.at_api("bearer"))
        return None

    def _dated(self, reply: Reply) -> Reply:
        """The same with the time of this HelseID."""
        status, end, rest = reply.data.partition(b"\r\n")
        date = f"\r\nDate: {formatdate(self.world.now(), usegmt=True)}".encode() if end else b""
        return replace(reply, data=status + date + end + rest)

    def _helseid(self, request: Request) -> Reply:
        endpoint, response, fault = self.helseid.handle(request)
        self.requests.append(request)
        if fault or endpoint not in {"discovery", "token"}:
            return _reply(response)
        document = json.loads(response.body)
        if endpoint == "discovery":
            instead = _next(self.discovery_replies) or self.discovery_reply
            return instead or http(document | self.discovery_more)
        if response.status != 200:
            if document["error"] != "use_dpop_nonce":
                self.violations.append(response.body.decode())
            return _reply(response)
        self.meanwhile()
        if instead := _next(self.token_replies) or self.token_reply:
            return instead
        self.tokens.append(document["access_token"])
        return http(document | self.token_more)

    def _search(self, area: str, request: Request) -> Reply:
        fields = json.loads(request.body)
        off_id, target = _off_id(fields), _target(request)
        if off_id in "".join(filter(str.isalnum, unquote(target))):
            self.violations.append("an identifier in a URL")
        self.asked.append((off_id, area))
        connection, place = self._at
        self.heard.append(
            Heard(
                off_id=off_id,
                area=area,
                connection=connection,
                place=place,
                at_s=time.monotonic(),
            )
        )
        records = self.people.get(off_id, {}).get(area, [])
        ask = Ask(
            off_id=off_id,
            area=area,
            token=str(request.header("authorization")).rpartition(" ")[2],
            target=target,
            fields=fields,
            records=records,
            url=f"{self.origin}{target.partition('?')[0]}",
        )
        answerer = self.script.get((off_id, area)) or self.script.get((off_id, ""))
        answerer = answerer or self.everybody
        reply = answerer(ask) if answerer else http(records)
        if self.delay_s and not reply.before_s:
            return Reply(data=reply.data, then=reply.then, before_s=self.delay_s)
        return reply


def _off_id(fields: Mapping[str, Any]) -> str:
    """The identifier, wherever it stands in the body."""
    (found,) = re.findall(r'"(\d{11})"', json.dumps(fields))
    return str(found)


def _next(replies: list[Reply]) -> Reply | None:
    return replies.pop(0) if replies else None


def _reply(response: Response) -> Reply:
    """An answer of the sandbox's handlers."""
    if response.delivery == "dropped":
        return Reply(data=b"", then="close")
    headers = [f"{name}: {value}" for name, value in response.headers.items()]
    status = f"{response.status} As the sandbox says"
    return http(response.body, status=status, kind=response.media_type, headers=headers)


def _target(request: Request) -> str:
    return f"{request.path}?{request.query}" if request.query else request.path


# Serving.


@contextlib.contextmanager
def standin(
    options: SandboxOptions | None = None,
    *,
    clock: Callable[[], float] = time.time,
    tls: ssl.SSLContext | None = None,
    origin: str = "",
    helseid_origin: str = "",
) -> Iterator[Standin]:
    """Serve a stand-in from threads of its own.

    Args:
        options: of the sandbox that checks; by default it knows a client made for this.
        clock: of HelseID.
        tls: ends TLS on each connection.
        origin, helseid_origin: its names, where only a proxy finds it.
    """
    made = Standin(helseid_origin=helseid_origin)
    with scripted_server(RawServer(reply=made.receive).converse, tls=tls) as server:
        made.port = server.port
        made.begin(origin or server.url, options or made.register(), clock)
        yield made


# Persons and their restrictions.


def off_id_of(number: int) -> str:
    """A synthetic identifier (month +80); many begin with a zero."""
    day = 1 + number % 28
    return f"{day:02d}{81 + number % 12:02d}{50 + number % 50:02d}{(number * 7919) % 100000:05d}"


def ref_of(off_id: str) -> str:
    """A local reference that does not tell the identifier, the same on every call."""
    return "R" + hashlib.sha256(b"ref" + off_id.encode()).hexdigest()[:9].translate(_LETTERS)


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def safety(off_id: str, name: str, **changes: Any) -> dict[str, Any]:
    """A patient-safety restriction."""
    return {
        "id": f"S-{ref_of(off_id)}-{name}",
        "createdTime": "2026-01-02T03:04:05.1234567Z",
        "modifiedTime": None,
        "createdBy": {"role": "LIS"},
        "patientSafetyObject": {
            "person": {"offId": off_id},
            "confidentialObjectId": {"type": "Svarrapport", "value": f"obj-{name}"},
        },
        "confidentialityCode": "NORU",
        "cause": "Manual",
        "delayDays": None,
        "delayDeliveryUntil": "2027-01-01T00:00:00Z",
        **changes,
    }


def privacy(off_id: str, name: str, **changes: Any) -> dict[str, Any]:
    """A patient-privacy restriction."""
    return {
        "id": f"P-{ref_of(off_id)}-{name}",
        "patientPrivacyObject": {"person": {"offId": off_id}},
        "privacyType": "Block",
        "privacyLevel": "Soft",
        "restrictionDomain": "PPS",
        "objectScope": {"type": "All"},
        "subjectScope": {"type": "All"},
        "timeRanges": [{"from": "2026-01-02T03:04:05.1234567Z", "to": None}],
        **changes,
    }


def person(
    made: Standin, number: int, *, safeties: int = 0, privacies: int = 0, off_id: str = ""
) -> str:
    """Add a person with so many restrictions, and return the identifier."""
    off_id = off_id or off_id_of(number)
    made.people[off_id] = {
        SAFETY: [safety(off_id, f"{n}") for n in range(safeties)],
        PRIVACY: [privacy(off_id, f"{n}") for n in range(privacies)],
    }
    return off_id


def persons(
    made: Standin, numbers: Iterable[int], *, safeties: int = 0, privacies: int = 0
) -> None:
    """Add these persons, each with so many restrictions."""
    for number in numbers:
        person(made, number, safeties=safeties, privacies=privacies)
