"""Authorizing calls to PTS with HelseID's tokens, and learning from PTS's answers."""

from collections.abc import Sequence
from typing import Final

import httpx
import structlog

from worker.core.dpop import is_nonce, origin
from worker.core.value import Value
from worker.helseid.challenges import Challenge, parse_challenges
from worker.helseid.discovery import Discovery
from worker.helseid.evidence import Step, TokenEvidence
from worker.helseid.keys import ClientKey
from worker.helseid.options import HelseIdOptions
from worker.helseid.proof import ProofKey
from worker.helseid.refusals import clean, clock_problem, error_code
from worker.helseid.tokens import TokenSource
from worker.helseid.transport import HelseIdClient, clock_ahead_s
from worker.ports import Authorization, HttpResponse, Runtime

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_ORIGINS_MAX: Final = 64
_ABOUT_THE_TOKEN: Final = frozenset({"", "invalid_token"})
"""Error codes that may be about the token; an API may use them for a proof as well."""
_ABOUT_THE_PROOF: Final = frozenset({"invalid_dpop_proof", "use_dpop_nonce"})
_log = structlog.get_logger(__name__)


class HelseIdChallengeResult(Value, frozen=True, kw_only=True):
    """What an answer means for the authorization.

    Attributes:
        retry: another attempt, with a fresh authorization, may succeed at once.
        token_replaced: that attempt will carry another token than the refused one.
        refused: why this client is denied for now; empty if it is not.
    """

    retry: bool = False
    token_replaced: bool = False
    refused: str = ""


_FINE: Final = HelseIdChallengeResult()
_SAME_TOKEN: Final = HelseIdChallengeResult(retry=True)
_NEW_TOKEN: Final = HelseIdChallengeResult(retry=True, token_replaced=True)


class HelseIdAuthorizer:
    """The ``Authorizer`` of real runs: DPoP, or bearer where that is asked for.

    After a 401 the same token is tried with a fresh proof. Only if that is refused too, and nothing
    was accepted meanwhile, is the token replaced: once for all requests, and at most every 30 s.
    Proofs then wait for a moment, and after some 2 s of refusals the client is denied for now. See
    ``TokenEvidence``.
    """

    def __init__(self, tokens: TokenSource, proof_key: ProofKey | None, runtime: Runtime) -> None:
        self._tokens = tokens
        self._proof_key = proof_key
        self._runtime = runtime
        self._nonces: dict[str, str] = {}
        self._evidence = TokenEvidence()

    async def authorize(self, method: str, url: str) -> Authorization:
        """A valid token and a fresh proof for this very attempt. See ``Authorizer``.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token's file is not what it must be.
        """
        token = await self._tokens.token()
        while self._evidence.refusals:
            wait_s = self._evidence.wait_s(self._runtime.monotonic())
            if not wait_s:
                break
            await self._runtime.sleep(wait_s)
            token = await self._tokens.token()
        serial = self._evidence.next_serial()
        if self._proof_key is None:
            headers = {"Authorization": token.authorization}
            return Authorization(headers=headers, token_id=token.token_id, serial=serial)
        proof = self._proof_key.proof(
            method,
            url,
            iat=int(self._runtime.now().timestamp()),
            jti=self._runtime.new_id(),
            access_token_hash=token.token_hash,
            nonce=self._nonces.get(origin(url)) if self._nonces else None,
        )
        headers = {"Authorization": token.authorization, "DPoP": proof}
        return Authorization(headers=headers, token_id=token.token_id, serial=serial)

    def handle_challenge(
        self, url: str, used: Authorization, answer: HttpResponse
    ) -> HelseIdChallengeResult:
        """Learn the nonce of any answer; on 401 and 403 decide what can help. See ``Authorizer``.

        The caller bounds how often it follows ``retry`` for one request.
        """
        learnt = self._learn_nonce(url, answer)
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
            return self._handle_denial(used, answer, nonce_learnt=learnt)
        if self._evidence.refusals and _accepted(answer) and self._tokens.is_current(used.token_id):
            self._evidence.accepted()
        return _FINE

    def _learn_nonce(self, url: str, answer: HttpResponse) -> bool:
        nonce = answer.header("dpop-nonce")
        if nonce is None or self._proof_key is None or not is_nonce(nonce):
            return False
        if len(self._nonces) >= _ORIGINS_MAX:
            self._nonces.clear()
        self._nonces[origin(url)] = nonce
        return True

    def _handle_denial(
        self, used: Authorization, answer: HttpResponse, *, nonce_learnt: bool
    ) -> HelseIdChallengeResult:
        challenges = parse_challenges(answer.headers.get("www-authenticate", ()))
        code, described = _error(
            challenges, used.headers.get("Authorization", "").partition(" ")[2]
        )
        _log.debug("helseid.call_denied", status=answer.status, code=code, token_id=used.token_id)
        ahead_s = clock_ahead_s(answer.header("date"), self._runtime.now())
        clock = clock_problem(ahead_s, whose="PTS's")
        text = _refused_text(answer.status, code, described, clock)
        is_final = code not in _ABOUT_THE_TOKEN | _ABOUT_THE_PROOF
        is_nonce_missing = code == "use_dpop_nonce" and not nonce_learnt
        if answer.status == _FORBIDDEN or is_final or is_nonce_missing:
            return HelseIdChallengeResult(refused=text)
        return self._try_again(used, text, is_token_suspect=code in _ABOUT_THE_TOKEN)

    def _try_again(
        self, used: Authorization, text: str, *, is_token_suspect: bool
    ) -> HelseIdChallengeResult:
        """With the same token, with another, or not: what all answers so far speak for."""
        if not self._tokens.is_current(used.token_id):
            return _NEW_TOKEN
        match self._evidence.refused(
            used.serial, self._runtime.monotonic(), is_token_suspect=is_token_suspect
        ):
            case Step.SAME_TOKEN:
                return _SAME_TOKEN
            case Step.NEW_TOKEN:
                self._tokens.drop(used.token_id)
                return _NEW_TOKEN
            case Step.DENIED:
                what = "a fresh token" if is_token_suspect else "fresh proofs"
                return HelseIdChallengeResult(refused=f"{text}; {what} did not help")


def _accepted(answer: HttpResponse) -> bool:
    """Whether PTS looked past the token: it gave a result, or has none of that person."""
    return answer.status < 300 or answer.status == 404  # noqa: PLR2004


def _error(challenges: Sequence[Challenge], token: str) -> tuple[str, str]:
    """The error code and description, without the token; of several, the one about DPoP counts."""
    named = [challenge for challenge in challenges if challenge.parameters.get("error")]
    named.sort(key=lambda challenge: challenge.scheme != "dpop")
    if not named:
        return "", ""
    parameters = named[0].parameters
    code = error_code(parameters["error"]) or "an error without a code"
    return code, clean(parameters.get("error_description"), without=token)


def _refused_text(status: int, code: str, described: str, clock: str) -> str:
    text = f"PTS answered {status} {code}".rstrip()
    if described:
        text += f" ({described})"
    return f"{text}; {clock}" if clock else text


class HelseId(Value, frozen=True, kw_only=True):
    """The parts of an opened client; ``doctor`` looks at each, a run at the authorizer."""

    caller: HelseIdClient
    discovery: Discovery
    tokens: TokenSource
    authorizer: HelseIdAuthorizer


def open_helseid(
    options: HelseIdOptions,
    key: ClientKey,
    runtime: Runtime,
    http: httpx.AsyncClient,
    *,
    discovery: Discovery | None = None,
) -> HelseId:
    """Put the client together. Nothing is called yet.

    Args:
        options: what the configuration says.
        key: the client's key.
        runtime: clock, sleep, randomness and ids.
        http: see ``helseid_client``; the caller closes it.
        discovery: of another client at the same issuer, so that it is read once.

    Raises:
        ConfigurationError: the options cannot be used.
    """
    caller = HelseIdClient(http, options, runtime)
    discovery = discovery or Discovery(
        options.issuer, caller, runtime, endpoint_host=options.token_endpoint_host
    )
    proof_key = ProofKey() if options.sender_constraint == "dpop" else None
    tokens = TokenSource(
        options, key, proof_key, discovery=discovery, caller=caller, runtime=runtime
    )
    authorizer = HelseIdAuthorizer(tokens, proof_key, runtime)
    return HelseId(caller=caller, discovery=discovery, tokens=tokens, authorizer=authorizer)
