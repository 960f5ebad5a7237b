"""Access tokens: cached until shortly before they expire, requested by one task at a time."""

import copy
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import httpx
import structlog

from worker.core.value import Value
from worker.errors import ConfigurationError, RefusedError, WorkerError
from worker.helseid.assertion import ASSERTION_TYPE, TYP, assertion_claims, organization_claim
from worker.helseid.client import HelseIdClient, HelseIdResponse
from worker.helseid.discovery import Discovery, Metadata
from worker.helseid.dpop import ProofKey, accepted_nonce, token_hash
from worker.helseid.keys import ClientKey
from worker.helseid.options import GrantKind, HelseIdOptions
from worker.helseid.refusals import clock_problem
from worker.helseid.token_response import granted_token
from worker.ports import Runtime
from worker.trusted_files import read_secret

_GRANT_TYPES: Final[dict[GrantKind, str]] = {
    "client_credentials": "client_credentials",
    "token_exchange": "urn:ietf:params:oauth:grant-type:token-exchange",
}
_SUBJECT_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
_SUBJECT_FILE: Final = "helseid.subject_token_file"
_RETRIES: Final = {"use_dpop_nonce": 2, "invalid_dpop_proof": 1}
"""How often a request is made anew at once, by the code of its refusal."""
_NONCE_LIFETIME_S: Final = 50.0
"""HelseID's nonces are presumably valid for 60 s (HelseID reference, section 2)."""
_RENEWAL_MARGIN_S_MAX: Final = 30.0
_RENEWAL_SHARE: Final = 0.2
"""A token is renewed 30 s before it expires, or at 80 % of its lifetime if that is later."""
_log = structlog.get_logger(__name__)


class Token(Value, frozen=True, kw_only=True):
    """An access token.

    Attributes:
        authorization: the ``Authorization`` header. Never logged.
        token_id: a sequence number; safe to log.
        token_hash: ``ath`` of its DPoP proofs.
        scopes: those that were asked for; all were granted.
        renew_at_s: on the runtime's monotonic clock.
    """

    hidden = frozenset({"authorization", "token_hash"})

    authorization: str
    token_id: str
    token_hash: str
    expires_in_s: float
    scopes: tuple[str, ...]
    renew_at_s: float


class TokenSource:
    """Provides the current token and renews it in time.

    One task at a time requests a token. If that task is cancelled, a waiting task takes over. If
    the request fails, all waiting tasks fail with the same error, and later calls try again.

    Raises:
        ConfigurationError: a multi-tenant client has no parent organisation.
    """

    def __init__(
        self,
        options: HelseIdOptions,
        key: ClientKey,
        client: HelseIdClient,
        runtime: Runtime,
    ) -> None:
        self._scopes = tuple(options.scope.split())
        self._options = options
        self.proof_key = ProofKey() if options.sender_constraint == "dpop" else None
        """Signs the proofs of tokens and of requests with them; None for bearer tokens."""
        self.discovery = Discovery(options.issuer, client, runtime)
        self._organization = organization_claim(options)
        self._key = key
        self._client = client
        self._runtime = runtime
        self._lock = anyio.Lock()
        self._token: Token | None = None
        self._issued = 0
        self._nonce: str | None = None
        self._nonce_until_s = 0.0
        self._requested_at_s = 0.0
        self._failures = 0
        self._failure: WorkerError | None = None

    async def token(self) -> Token:
        """A token that does not expire soon.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token file cannot be used.
        """
        if (token := self._current()) is not None:
            return token
        failures_before = self._failures
        async with self._lock:
            if (token := self._current()) is not None:
                return token
            if self._failure is not None and self._failures > failures_before:
                raise copy.copy(self._failure)
            try:
                self._token = await self._request_with_nonce(await self.discovery.metadata())
            except WorkerError as error:
                self._failures += 1
                self._failure = error
                raise
            self._failure = None
            return self._token

    def drop(self) -> None:
        """Discard the current token, which PTS refuses."""
        if self._token is not None:
            _log.info("helseid.token_dropped", token_id=self._token.token_id)
            self._token = None

    def is_current(self, token_id: str) -> bool:
        """Whether ``token`` would return this token."""
        token = self._current()
        return token is not None and token.token_id == token_id

    def _current(self) -> Token | None:
        token = self._token
        if token is None or self._runtime.monotonic() >= token.renew_at_s:
            return None
        return token

    async def _request_with_nonce(self, metadata: Metadata) -> Token:
        """Request a token; answer demands for a nonce and, once, a refused proof.

        Raises:
            RefusedError: HelseID refuses the client, or the token is not what was asked for.
        """
        left = dict(_RETRIES)
        while True:
            try:
                return await self._client.call(lambda: self._new_request(metadata), self._read)
            except RefusedError as error:
                is_nonce_missing = error.code == "use_dpop_nonce" and self._nonce is None
                if not left.get(error.code) or is_nonce_missing:
                    raise
                left[error.code] -= 1

    async def _new_request(self, metadata: Metadata) -> httpx.Request:
        """A new request for each attempt, with a new ``jti`` in both assertion and DPoP proof."""
        issued_s = int(self._runtime.now().timestamp())
        self._requested_at_s = self._runtime.monotonic()
        claims = assertion_claims(
            self._options.client_id,
            issuer=metadata.issuer,
            issued_s=issued_s,
            jti=self._runtime.new_id(),
        )
        form = {
            "grant_type": _GRANT_TYPES[self._options.grant],
            "client_id": self._options.client_id,
            "scope": " ".join(self._scopes),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._key.sign(typ=TYP, claims=claims | self._organization),
        }
        if self._options.subject_token_file is not None and self._options.grant == "token_exchange":
            form["subject_token"] = await _subject_token(self._options.subject_token_file)
            form["subject_token_type"] = _SUBJECT_TOKEN_TYPE
        headers = {}
        if self.proof_key is not None:
            headers["DPoP"] = self.proof_key.proof(
                "POST",
                metadata.token_endpoint,
                iat=issued_s,
                jti=self._runtime.new_id(),
                nonce=self._nonce if self._requested_at_s < self._nonce_until_s else None,
            )
        return self._client.new_request("POST", metadata.token_endpoint, headers=headers, data=form)

    def _read(self, response: HelseIdResponse) -> Token:
        """The token in a response; what the response says of nonce and clock is remembered.

        Raises:
            TransientError: it is neither a token nor a refusal.
            RefusedError: HelseID refuses the client, or the token is not what was asked for.
        """
        nonce = accepted_nonce(response.header("dpop-nonce"))
        if nonce is not None:
            self._nonce = nonce
            self._nonce_until_s = self._runtime.monotonic() + _NONCE_LIFETIME_S
        try:
            granted = granted_token(response)
        except RefusedError:
            self._nonce = nonce  # one that was refused is not sent again
            raise
        granted.require_type(self._options.sender_constraint)
        granted.require_scopes(self._scopes)
        margin_s = min(_RENEWAL_MARGIN_S_MAX, _RENEWAL_SHARE * granted.lifetime_s)
        scheme = "DPoP" if self.proof_key is not None else "Bearer"
        self._issued += 1
        token = Token(
            authorization=f"{scheme} {granted.access_token}",
            token_id=str(self._issued),
            token_hash=token_hash(granted.access_token),
            expires_in_s=granted.lifetime_s,
            scopes=self._scopes,
            renew_at_s=self._requested_at_s + granted.lifetime_s - margin_s,
        )
        _log.info(
            "helseid.token_received",
            token_id=token.token_id,
            expires_in_s=token.expires_in_s,
            scope=" ".join(token.scopes),
        )
        if problem := clock_problem(response.clock_ahead_s, whose="HelseID's"):
            _log.warning("helseid.clock_off", problem=problem)
        return token


async def _subject_token(path: Path) -> str:
    """The signed-in person's token. It is used for one request and never stored.

    Raises:
        ConfigurationError: the file cannot be read or does not hold exactly one token.
    """
    content = await anyio.to_thread.run_sync(lambda: read_secret(path, key=_SUBJECT_FILE))
    token = content.strip()
    if not token.isascii() or len(token.split()) != 1:
        raise ConfigurationError(f"{_SUBJECT_FILE}: {path} must hold exactly one token")
    return token.decode("ascii")
