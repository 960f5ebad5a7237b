"""Challenges of the API: in the style of NHN's sample, or of RFC 9449."""

from typing import Final

from worker.sandbox.jose import ALGORITHMS
from worker.sandbox.web import Headers, Response, header_line, problem

BEARER: Final = "bearer"
DPOP: Final = "dpop"
CHALLENGE_STYLES: Final = (BEARER, DPOP)
_UNAUTHORIZED: Final = 401


class DeniedError(Exception):
    """A request is denied.

    Attributes:
        error: the RFC 9449 error code; empty if the request has no token.
        status: 401, or 403 if a valid token lacks permission.
        is_about_token: whether the token itself is invalid.
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

    def response(self, style: str) -> Response:
        """The response, in one of ``CHALLENGE_STYLES``."""
        headers = _bearer_headers(self) if style == BEARER else _dpop_headers(self)
        if self.nonce:
            headers = (*headers, header_line("dpop-nonce", self.nonce))
        title = "Unauthorized" if self.status == _UNAUTHORIZED else "Forbidden"
        return problem(self.status, title, headers=headers)


def _bearer_headers(denied: DeniedError) -> Headers:
    """Challenge of ASP.NET's JWT bearer handler, as in NHN's sample (PTS reference, section 13).

    The sample reports an invalid DPoP proof with ``context.Fail``, for which the handler sends no
    description. It describes errors of the token itself, and sends no challenge with a 403.
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
    """Challenge of RFC 9449, section 7.1, with Duende's texts."""
    challenge = f'DPoP algs="{" ".join(ALGORITHMS)}"'
    if denied.error:
        challenge = f'DPoP error="{denied.error}", error_description="{denied.description}"'
    return (header_line("www-authenticate", challenge),)
