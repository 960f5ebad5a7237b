"""Checks tokens, DPoP proofs and their binding, as NHN's sample API does."""

from typing import Final

from worker.sandbox.challenges import DeniedError
from worker.sandbox.clients import PTS_SCOPE
from worker.sandbox.dpop import (
    REPLAY_S,
    Nonces,
    Proof,
    ProofError,
    check_at_api,
    open_proof,
    refuse_replay,
)
from worker.sandbox.faults import Action, Fault, has_action
from worker.sandbox.jose import Claims
from worker.sandbox.state import World
from worker.sandbox.tokens import PARENT_CLAIM, TokenError, TokenReader
from worker.sandbox.web import Request
from worker.sandbox.windows import ReplayWindow

_AUDIENCE: Final = PTS_SCOPE.rpartition("/")[0]


class AccessChecker:
    """Checks each request; remembers the ``jti`` of DPoP proofs until they have expired."""

    def __init__(self, world: World, reader: TokenReader) -> None:
        self._world = world
        self._reader = reader
        self._seen = ReplayWindow(REPLAY_S)
        self._nonces = Nonces()

    def check(self, request: Request, fault: Fault | None) -> Claims:
        """The claims of the request's token.

        Raises:
            DeniedError: the request is denied.
        """
        now_s = self._world.now(fault)
        scheme, token = _credentials(request)
        claims = self._claims(token, fault, now_s)
        if scheme == "bearer":
            self._check_bearer(claims)
        else:
            proof = self._checked_proof(request, token, claims, fault, now_s)
            self._world.ledger.use_proof(proof.claims["jti"])
        scopes = claims.get("scope")
        if not isinstance(scopes, list) or PTS_SCOPE not in scopes:
            raise DeniedError("insufficient_scope", f"{PTS_SCOPE} is needed", status=403)
        if not claims.get(PARENT_CLAIM):
            raise DeniedError("insufficient_scope", "orgnr_parent is needed", status=403)
        return claims

    def _claims(self, token: str, fault: Fault | None, now_s: float) -> Claims:
        if has_action(fault, Action.EXPIRED_TOKEN):
            raise DeniedError("invalid_token", "The token has expired.", is_about_token=True)
        try:
            return self._reader.read(
                token,
                audience=_AUDIENCE,
                now_s=now_s,
                epoch=self._world.token_epoch,
            )
        except TokenError as error:
            reason = f"The token is not accepted: {error}."
            raise DeniedError("invalid_token", reason, is_about_token=True) from error

    def _check_bearer(self, claims: Claims) -> None:
        if "cnf" in claims:
            raise DeniedError("invalid_token", "The token is bound to a key.")
        registration = self._world.registrations.get(claims.get("client_id", ""))
        if registration is None or registration.client.dpop:
            raise DeniedError("invalid_token", "The client must use DPoP.")

    def _checked_proof(
        self, request: Request, token: str, claims: Claims, fault: Fault | None, now_s: float
    ) -> Proof:
        proofs = request.all(b"dpop")
        if len(proofs) != 1:
            raise DeniedError("invalid_request", "Expected exactly one DPoP header.")
        try:
            proof = open_proof(proofs[0])
            confirmation = claims.get("cnf")
            if not isinstance(confirmation, dict) or confirmation.get("jkt") != proof.thumbprint:
                raise DeniedError("invalid_token", "Invalid 'cnf' value.")
            check_at_api(proof, request, token, now_s)
            self._nonces.check(proof, fault, now_s, is_required=self._world.options.rs_nonce)
            refuse_replay(self._seen, proof)
        except ProofError as error:
            nonce = self._nonces.answer(error, fault, now_s)
            raise DeniedError(error.error, error.description, nonce=nonce) from error
        return proof


def _credentials(request: Request) -> tuple[str, str]:
    """Scheme, lower case, and token."""
    values = request.all(b"authorization")
    if not values:
        raise DeniedError("")
    if len(values) > 1:
        raise DeniedError("invalid_request", "Expected exactly one Authorization header.")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() not in {"dpop", "bearer"} or not token:
        raise DeniedError("")
    return scheme.lower(), token
