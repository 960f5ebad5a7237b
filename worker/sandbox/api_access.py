"""Checks tokens, DPoP proofs and their binding, as NHN's sample API does."""

from dataclasses import dataclass

from worker.sandbox.challenges import DeniedError
from worker.sandbox.clients import PTS_SCOPE, Registration
from worker.sandbox.dpop import (
    REPLAY_S,
    NonceIssuer,
    Proof,
    ProofError,
    check_at_api,
    open_proof,
    refuse_replay,
    token_hash,
)
from worker.sandbox.faults import Action, Fault, has_action
from worker.sandbox.jose import Claims
from worker.sandbox.state import World
from worker.sandbox.tokens import PARENT_CLAIM, TokenError, TokenReader
from worker.sandbox.web import Request
from worker.sandbox.windows import ReplayWindow


@dataclass(frozen=True, slots=True)
class _Credentials:
    scheme: str
    token: str


@dataclass(frozen=True, slots=True)
class _Binding:
    """What a DPoP proof must match."""

    token: str
    claims: Claims
    method: str


class AccessChecker:
    """Checks each request; remembers the ``jti`` of DPoP proofs until they have expired."""

    def __init__(
        self, world: World, reader: TokenReader, registrations: dict[str, Registration], scope: str
    ) -> None:
        self._world = world
        self._reader = reader
        self._registrations = registrations
        self._scope = scope
        self._audience = scope.rpartition("/")[0]
        self._seen = ReplayWindow(REPLAY_S)
        self._nonces = NonceIssuer()
        self._used_nonces = ReplayWindow(60)

    def check(self, request: Request, fault: Fault | None, *, method: str = "POST") -> Claims:
        """The claims of the request's token.

        Raises:
            DeniedError: the request is denied.
        """
        now_s = self._world.now()
        if fault is not None and fault.action is Action.CLOCK_SKEW:
            now_s += fault.skew_s
        credentials = _credentials(request)
        claims = self._token(credentials, fault, now_s)
        if credentials.scheme == "bearer":
            self._check_bearer(claims)
        else:
            self._check_proof(request, _Binding(credentials.token, claims, method), fault, now_s)
        scopes = claims.get("scope")
        if not isinstance(scopes, list) or self._scope not in scopes:
            raise DeniedError("insufficient_scope", f"{self._scope} is needed", status=403)
        if self._scope == PTS_SCOPE and not claims.get(PARENT_CLAIM):
            raise DeniedError("insufficient_scope", "orgnr_parent is needed", status=403)
        return claims

    def _token(self, credentials: _Credentials, fault: Fault | None, now_s: float) -> Claims:
        if fault is not None and fault.action is Action.EXPIRED_TOKEN:
            raise DeniedError("invalid_token", "The token has expired.", is_about_token=True)
        try:
            return self._reader.read(
                credentials.token,
                audience=self._audience,
                now_s=now_s,
                epoch=self._world.token_epoch,
            )
        except TokenError as error:
            reason = f"The token is not accepted: {error}."
            raise DeniedError("invalid_token", reason, is_about_token=True) from error

    def _check_bearer(self, claims: Claims) -> None:
        if "cnf" in claims:
            raise DeniedError("invalid_token", "The token is bound to a key.")
        registration = self._registrations.get(claims.get("client_id", ""))
        if registration is None or registration.client.dpop:
            raise DeniedError("invalid_token", "The client must use DPoP.")

    def _check_proof(
        self,
        request: Request,
        binding: _Binding,
        fault: Fault | None,
        now_s: float,
    ) -> None:
        proofs = request.all(b"dpop")
        if len(proofs) != 1:
            raise DeniedError("invalid_request", "Expected exactly one DPoP header.")
        try:
            proof = open_proof(proofs[0])
            confirmation = binding.claims.get("cnf")
            if not isinstance(confirmation, dict) or confirmation.get("jkt") != proof.thumbprint:
                raise DeniedError("invalid_token", "Invalid 'cnf' value.")
            check_at_api(
                proof, request.url, token_hash(binding.token), now_s, method=binding.method
            )
            self._check_nonce(proof, fault, now_s)
            refuse_replay(self._seen, proof)
        except ProofError as error:
            nonce = ""
            if error.error == "use_dpop_nonce" and not has_action(
                fault, Action.NONCE_WITHOUT_HEADER
            ):
                nonce = self._nonces.issue(now_s)
            raise DeniedError(error.error, error.description, nonce=nonce) from error
        self._world.ledger.proof_ids.add(proof.claims["jti"])

    def _check_nonce(self, proof: Proof, fault: Fault | None, now_s: float) -> None:
        each_call = has_action(fault, Action.NONCE_EVERY_CALL)
        never = has_action(fault, Action.NONCE_FOREVER, Action.NONCE_WITHOUT_HEADER)
        nonce = proof.claims.get("nonce")
        used = nonce is not None and self._used_nonces.seen(str(nonce))
        if not (self._world.rs_nonce or each_call or never):
            return
        if nonce is None:
            raise ProofError("Missing 'nonce' value.", "use_dpop_nonce")
        if never or (each_call and used) or not self._nonces.is_valid(nonce, now_s):
            raise ProofError("Invalid 'nonce' value.", "use_dpop_nonce")


def _credentials(request: Request) -> _Credentials:
    values = request.all(b"authorization")
    if not values:
        raise DeniedError("")
    if len(values) > 1:
        raise DeniedError("invalid_request", "Expected exactly one Authorization header.")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() not in {"dpop", "bearer"} or not token:
        raise DeniedError("")
    return _Credentials(scheme.lower(), token)
