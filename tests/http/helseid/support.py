"""A token endpoint on a real socket that judges what it gets with other people's code.

Signatures are checked by jwskate and proofs by requests-oauth2client: neither is used by the
worker.
"""

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwskate
from requests_oauth2client.dpop import validate_dpop_proof

DISCOVERY = "/.well-known/openid-configuration"
CLIENT_ID = "6f1a3c0e-0000-4000-8000-000000000001"
YEARS_S = 20 * 365 * 86_400
"""The judge looks at the real clock, the tests' clock is another: ``iat`` is checked here."""


@dataclass(frozen=True, kw_only=True)
class Canned:
    """An answer laid ready. ``drop`` closes the connection instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False

    def __str__(self) -> str:
        return "drop" if self.drop else f"{self.status} {json.dumps(self.body)}"


def write_secret(path: Path, content: object) -> Path:
    """Write a file that only its owner can read."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    return path


def refusal(code: str, *, status: int = 400, **more: str) -> Canned:
    return Canned(status=status, body={"error": code, **more})


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One token request that was judged."""

    form: dict[str, str]
    assertion_header: dict[str, Any]
    assertion: dict[str, Any]
    proof: dict[str, Any] | None


class TokenEndpoint:
    """A HelseID of a few lines. Use it as a context manager."""

    def __init__(self, now: Callable[[], datetime], *, path: str = "", tls: Any = None) -> None:
        self.now = now
        self.path = path
        self.keys: dict[str, jwskate.Jwk] = {}
        self.canned: deque[Canned] = deque()
        self.canned_discovery: deque[Canned] = deque()
        self.discovery: dict[str, Any] | None = None
        self.nonce: str | None = "nonce-1"
        self.clock_ahead_s = 0.0
        self.token_fields: dict[str, Any] = {}
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        self.discoveries = 0
        self.tokens_given = 0
        self.hold = threading.Event()
        self.hold.set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.origin = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = self.origin + path
        self.endpoint = f"{self.issuer}/connect/token"

    def __enter__(self):
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.005,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def register(self, jwk: dict[str, Any]) -> None:
        """Take a public key for client assertions."""
        key = jwskate.Jwk(jwk)
        assert not key.is_private
        self.keys[jwk["kid"]] = key

    def date(self) -> str:
        """The ``Date`` header, by this server's clock."""
        return format_datetime(self._clock().replace(microsecond=0), usegmt=True)

    def _clock(self) -> datetime:
        return self.now() + timedelta(seconds=self.clock_ahead_s)

    def describe(self) -> Canned:
        """Answer the discovery call."""
        self.discoveries += 1
        if self.canned_discovery:
            return self.canned_discovery.popleft()
        return Canned(
            body=self.discovery or {"issuer": self.issuer, "token_endpoint": self.endpoint}
        )

    def give(self, headers: Any, body: bytes) -> Canned:
        """Answer a token request; judged even if the answer lies ready."""
        self.hold.wait(60)
        with self._lock:
            seen = self._judge(headers, body)
            self.seen.append(seen)
            if self.canned:
                return self.canned.popleft()
            if (denied := self._deny(seen)) is not None:
                return denied
            self.tokens_given += 1
            kind = "Bearer" if seen.proof is None else "DPoP"
            granted = {
                "access_token": f"secret-token-{self.tokens_given}",
                "expires_in": 600,
                "token_type": kind,
                "scope": seen.form.get("scope", ""),
            }
            return Canned(body={**granted, **self.token_fields})

    def _judge(self, headers: Any, body: bytes) -> Seen:
        if headers.get("Content-Type") != "application/x-www-form-urlencoded":
            self.faults.append("content type")
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        assertion = jwskate.SignedJwt(form["client_assertion"])
        kid = assertion.headers["kid"]
        if kid not in self.keys:
            self.faults.append("unknown kid")
        elif not assertion.verify_signature(self.keys[kid], alg=self.keys[kid].alg):
            self.faults.append("assertion signature")
        proofs = headers.get_all("DPoP") or []
        proof = None
        if proofs:
            checked = validate_dpop_proof(
                proofs[0], htm="POST", htu=self.endpoint, algs=["ES256"], leeway=YEARS_S
            )
            proof = dict(checked.claims)
        return Seen(
            form=form,
            assertion_header=dict(assertion.headers),
            assertion=dict(assertion.claims),
            proof=proof,
        )

    def _deny(self, seen: Seen) -> Canned | None:
        now_s = self._clock().timestamp()
        claims = seen.assertion
        if self.faults or not now_s - 300 <= claims["nbf"] <= now_s + 300:
            return refusal("invalid_client")
        if seen.proof is None:
            return None
        if not now_s - 6 <= seen.proof["iat"] <= now_s + 5:
            return refusal("invalid_dpop_proof", error_description="Invalid 'iat' value.")
        if self.nonce is not None and seen.proof.get("nonce") != self.nonce:
            return Canned(
                status=400, body={"error": "use_dpop_nonce"}, headers={"DPoP-Nonce": self.nonce}
            )
        return None


def _handler(endpoint: TokenEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # one packet an answer, or each waits for a delayed acknowledgement

        def do_GET(self):
            if self.path != endpoint.path + DISCOVERY:
                self._send(Canned(status=404, body="no such page"))
                return
            self._send(endpoint.describe())

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(endpoint.give(self.headers, body))

        def _send(self, canned: Canned) -> None:
            if canned.drop:
                self.close_connection = True
                return
            body = canned.body
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(canned.status)
            for name, value in canned.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp=None):
            return endpoint.date()

        def log_message(self, format, *args):  # noqa: A002
            pass

    return Handler


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
