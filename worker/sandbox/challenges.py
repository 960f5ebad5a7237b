"""How an API says that it refuses a call: as NHN's sample does, or as RFC 9449 says."""

from typing import Final

from worker.sandbox.jose import ALGORITHMS
from worker.sandbox.web import Headers, Response, header_line, problem

BEARER: Final = "bearer"
DPOP: Final = "dpop"
CHALLENGE_STYLES: Final = (BEARER, DPOP)

_UNAUTHORIZED: Final = 401


class DeniedError(Exception):
    """A call that is denied.

    Attributes:
        error: the code in RFC 9449's style; empty if no token was given at all.
        description: what is wrong.
        status: 401, or 403 for a good token that may not do this.
        nonce: to be sent as ``DPoP-Nonce``.
        is_about_token: whether the token itself was not accepted.
    """

    def __init__(
        self,
        error: str,
        description: str = "",
        *,
        status: int = _UNAUTHORIZED,
        nonce: str = "",
        is_about_token: bool = False,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status
        self.nonce = nonce
        self.is_about_token = is_about_token

    def reply(self, style: str) -> Response:
        """The refusal as an answer in one of ``CHALLENGE_STYLES``."""
        headers = _bearer_headers(self) if style == BEARER else _dpop_headers(self)
        if self.nonce:
            headers = (*headers, header_line("dpop-nonce", self.nonce))
        title = "Unauthorized" if self.status == _UNAUTHORIZED else "Forbidden"
        return problem(self.status, title, headers=headers)


def _bearer_headers(denied: DeniedError) -> Headers:
    """ASP.NET's JWT bearer handler, as NHN's sample uses it (PTS reference, section 13).

    The sample reports a fault of the proof by ``context.Fail``, for which the handler knows no
    description. It describes what it finds wrong with the token itself, and sends no challenge with
    a 403.
    """
    if denied.status != _UNAUTHORIZED:
        return ()
    challenge = "Bearer"
    if denied.error:
        challenge += ' error="invalid_token"'
    if denied.is_about_token:
        challenge += f', error_description="{denied.description}"'
    return (header_line("www-authenticate", challenge),)


def _dpop_headers(denied: DeniedError) -> Headers:
    """RFC 9449, section 7.1; the words are Duende's."""
    challenge = f'DPoP algs="{" ".join(ALGORITHMS)}"'
    if denied.error:
        challenge = f'DPoP error="{denied.error}", error_description="{denied.description}"'
    return (header_line("www-authenticate", challenge),)
