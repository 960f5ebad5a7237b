"""HelseID and PTS once more, made independently of the sandbox: what an outside checker brings.

One loopback port, raw sockets, so that any bytes can be answered. HelseID wants a signed client
assertion and a DPoP proof with its nonce; PTS wants the token with a proof bound to it. What the
worker does against the rules is kept in ``violations``.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.acceptance.program import Installation, install

SAFETY, PRIVACY = "patient-safety", "patient-privacy"
CLIENT_ID = "c0ffee00-0000-4000-8000-000000000007"
PATHS = {
    "/v0.5/access-restrictions/patient-safety/_search": SAFETY,
    "/access-restrictions/patient-privacy/_search": PRIVACY,
}

Records = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Bytes to send, and what to do then: ``keep``, ``close``, ``reset`` or ``hang``.

    ``slices`` pieces of one size, or pieces cut at ``cuts``, go with ``pause_s`` between them.
    """

    data: bytes
    then: str = "keep"
    before_s: float = 0.0
    slices: int = 1
    cuts: tuple[int, ...] = ()
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A search that passed the checks."""

    off_id: str
    area: str
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


def http(
    body: bytes | Any = b"",
    *,
    status: str = "200 OK",
    kind: str | None = "application/json",
    headers: Sequence[str] = (),
    length: int | None = None,
    **more: Any,
) -> Reply:
    """An answer; anything but bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    lines.append(f"Content-Length: {len(content) if length is None else length}")
    head = "\r\n".join((*lines, *headers)) + "\r\n\r\n"
    return Reply(data=head.encode() + content, **more)


@dataclass(kw_only=True)
class Standin:
    """A stand-in that answers.

    Attributes:
        people: restrictions by identifier and area.
        script: how to answer some, instead of with their restrictions; the key's area may be
            empty for both.
        everybody: how to answer everyone who has no script.
        asked: every search that passed the checks, as (identifier, area).
        heard: the same, each with its connection and time.
        token_reply, discovery_reply: what HelseID says instead.
        token_replies, discovery_replies: what it says to the next requests, before that.
        token_more: further fields of a token's answer.
        client_keys: the public keys that the client may sign its assertions with.
        pushed: whatever was sent below ``/pushed``.
        delay_s: how long each search takes.
    """

    people: dict[str, dict[str, Records]] = field(default_factory=dict)
    script: dict[tuple[str, str], Answerer] = field(default_factory=dict)
    everybody: Answerer | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    token_reply: Reply | None = None
    discovery_reply: Reply | None = None
    token_replies: list[Reply] = field(default_factory=list)
    discovery_replies: list[Reply] = field(default_factory=list)
    token_more: dict[str, Any] = field(default_factory=dict)
    client_keys: list[Any] = field(default_factory=list)
    pushed: list[bytes] = field(default_factory=list)
    delay_s: float = 0.0
    port: int = 0
    private_jwk: dict[str, Any] = field(default_factory=dict)
    nonce: str = "nonce-of-the-second-stand-in"
    _connections: int = 0
    _at: tuple[int, int] = (0, 0)
    _seen: set[str] = field(default_factory=set)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/sts"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def install(self, folder: Path, database_url: str, **sync: Any) -> Installation:
        """A worker that reads this stand-in; the roster is everyone, with local references."""
        made = install(
            folder,
            database_url=database_url,
            issuer=self.issuer,
            base_url=self.base_url,
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

    # What the real ones would check.

    def connected(self) -> int:
        """The number of a new connection."""
        self._connections += 1
        return self._connections

    def receive(
        self, connection: int, place: int, line: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Answer a request that came by a connection as its ``place``-th."""
        self._at = (connection, place)
        return self.handle(line, headers, body)

    def handle(self, line: str, headers: Mapping[str, str], body: bytes) -> Reply:
        method, target, _ = line.split(" ", 2)
        path = target.partition("?")[0]
        if path == "/sts/.well-known/openid-configuration":
            if self.discovery_replies:
                return self.discovery_replies.pop(0)
            return self.discovery_reply or http(
                {"issuer": self.issuer, "token_endpoint": f"{self.issuer}/connect/token"}
            )
        if path == "/sts/connect/token":
            return self._token(method, headers, body)
        if path.startswith("/pushed"):
            self.pushed.append(line.encode() + b"\n" + body)
            return http(b"")
        area = PATHS.get(path)
        if area is None:
            return http({"title": "no such path"}, status="404 Not Found")
        problem = self._problem(method, path, headers)
        if problem:
            self.violations.append(problem)
            return http(status="401 Unauthorized", headers=['WWW-Authenticate: DPoP error="x"'])
        return self._search(area, target, body)

    def _search(self, area: str, target: str, body: bytes) -> Reply:
        fields = json.loads(body)
        off_id = fields["offId"]
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
            target=target,
            fields=fields,
            records=records,
            url=f"{self.base_url}{target.partition('?')[0]}",
        )
        answerer = self.script.get((off_id, area)) or self.script.get((off_id, ""))
        answerer = answerer or self.everybody
        reply = answerer(ask) if answerer else http(records)
        if self.delay_s and not reply.before_s:
            return Reply(data=reply.data, then=reply.then, before_s=self.delay_s)
        return reply

    def _token(self, method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        problem = self._assertion_problem(form)
        if method != "POST" or form.get("grant_type") != "client_credentials" or problem:
            self.violations.append(problem or "not a client credentials request")
            return http({"error": "invalid_client"}, status="401 Unauthorized")
        claims, thumbprint = self.read_proof(headers.get("dpop", ""))
        if claims.get("nonce") != self.nonce:
            return http(
                {"error": "use_dpop_nonce"},
                status="400 Bad Request",
                headers=[f"DPoP-Nonce: {self.nonce}"],
            )
        if claims.get("htu") != f"{self.issuer}/connect/token" or claims.get("htm") != "POST":
            self.violations.append("a proof for another address")
        if self.token_replies:
            return self.token_replies.pop(0)
        if self.token_reply is not None:
            return self.token_reply
        token = f"tok.{thumbprint[:8]}.{len(self.tokens)}.{hashlib.sha256(body).hexdigest()}"
        self.tokens[token] = (thumbprint, time.time() + 300)
        return http(
            {
                "access_token": token,
                "token_type": "DPoP",
                "expires_in": 300,
                "scope": form.get("scope", ""),
                **self.token_more,
            }
        )

    def _assertion_problem(self, form: Mapping[str, str]) -> str:
        try:
            header, claims = self._verified(form["client_assertion"], self.client_keys)
        except (KeyError, ValueError, InvalidSignature):
            return "an assertion that cannot be verified"
        now = time.time()
        for fault, text in (
            (header.get("typ") != "client-authentication+jwt", "an assertion of the wrong type"),
            (claims.get("aud") != self.issuer, "an assertion for another audience"),
            (claims.get("iss") != CLIENT_ID or claims.get("sub") != CLIENT_ID, "another client"),
            (not now - 5 < claims.get("exp", 0) <= now + 65, "an assertion that lives too long"),
            (form.get("client_id") != CLIENT_ID, "another client_id in the form"),
            (claims["jti"] in self._seen, "a jti used twice"),
        ):
            if fault:
                return text
        self._seen.add(claims["jti"])
        return ""

    def _problem(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        thumbprint, until_s = self.tokens.get(token, ("", 0.0))
        if method != "POST" or scheme != "DPoP" or time.time() > until_s:
            return "no valid token"
        claims, proof_thumbprint = self.read_proof(headers.get("dpop", ""))
        if proof_thumbprint != thumbprint:
            return "a proof by another key"
        if claims.get("ath") != _b64(hashlib.sha256(token.encode()).digest()):
            return "a proof for another token"
        if (claims.get("htm"), claims.get("htu")) != ("POST", f"{self.base_url}{path}"):
            return "a proof for another request"
        return ""

    def read_proof(self, proof: str) -> tuple[Mapping[str, Any], str]:
        """The claims of a DPoP proof and the thumbprint of its key; none if it is not valid."""
        try:
            jwk = json.loads(_unb64(proof.partition(".")[0]))["jwk"]
            header, claims = self._verified(proof, [public_key(jwk)])
        except (KeyError, ValueError, InvalidSignature):
            self.violations.append("a proof that cannot be verified")
            return {}, ""
        if header.get("typ") != "dpop+jwt" or "d" in jwk or claims["jti"] in self._seen:
            self.violations.append("a proof against the rules")
        if abs(time.time() - claims["iat"]) > 30:
            self.violations.append("a proof that is old")
        self._seen.add(claims["jti"])
        names = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
        text = json.dumps(names, separators=(",", ":"), sort_keys=True)
        return claims, _b64(hashlib.sha256(text.encode()).digest())

    def _verified(self, jwt: str, keys: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        head, payload, signature = jwt.split(".")
        raw = _unb64(signature)
        half = len(raw) // 2
        der = encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )
        algorithm, curve = _ALGORITHMS[json.loads(_unb64(head))["alg"]]
        for key in keys:
            if isinstance(key.curve, curve):
                with contextlib.suppress(InvalidSignature):
                    key.verify(der, f"{head}.{payload}".encode(), ec.ECDSA(algorithm()))
                    return json.loads(_unb64(head)), json.loads(_unb64(payload))
        raise InvalidSignature


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public_key(jwk: Mapping[str, str]) -> Any:
    """The key of an EC JWK."""
    x, y = (int.from_bytes(_unb64(jwk[name]), "big") for name in "xy")
    return ec.EllipticCurvePublicNumbers(x, y, _CURVES[jwk["crv"]]()).public_key()


_CURVES = {"P-256": ec.SECP256R1, "P-521": ec.SECP521R1}
_ALGORITHMS = {
    "ES256": (hashes.SHA256, ec.SECP256R1),
    "ES512": (hashes.SHA512, ec.SECP521R1),
}


def _new_key() -> tuple[dict[str, Any], Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.private_numbers()
    names = {
        "d": numbers.private_value,
        "x": numbers.public_numbers.x,
        "y": numbers.public_numbers.y,
    }
    jwk = {name: _b64(value.to_bytes(32, "big")) for name, value in names.items()}
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "kid-1", **jwk}, key.public_key()


# Serving.


@contextlib.contextmanager
def standin() -> Iterator[Standin]:
    """Serve a stand-in from a thread of its own."""
    made = Standin()
    made.private_jwk, key = _new_key()
    made.client_keys.append(key)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_serve(made, ready, stop))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def _serve(made: Standin, ready: threading.Event, stop: asyncio.Event) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _converse(made, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=500)
    made.port = server.sockets[0].getsockname()[1]
    ready.set()
    await stop.wait()
    server.close()
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _converse(
    made: Standin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    connection = made.connected()
    for place in count(1):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.split("\r\n")[:-2]
        headers = {}
        for item in lines:
            name, _, value = item.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        reply = made.receive(connection, place, line, headers, body)
        if reply.before_s:
            await asyncio.sleep(reply.before_s)
        size = max(1, -(-len(reply.data) // reply.slices))
        begins = [0, *reply.cuts] if reply.cuts else [*range(0, max(1, len(reply.data)), size)]
        for begin, end in zip(begins, [*begins[1:], len(reply.data)], strict=True):
            writer.write(reply.data[begin:end])
            await writer.drain()
            if len(begins) > 1:
                await asyncio.sleep(reply.pause_s)
        if reply.then == "close":
            return
        if reply.then == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        if reply.then == "hang":
            await asyncio.sleep(60)


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
        "createdBy": "LIS",
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
        "person": {"offId": off_id},
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
