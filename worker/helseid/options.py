"""What the HelseID client must be told, as plain values."""

from pathlib import Path
from typing import Final, Literal, TypeAlias

from worker.core.retry import RetryPolicy
from worker.core.value import Value

SenderConstraint: TypeAlias = Literal["dpop", "bearer"]
GrantKind: TypeAlias = Literal["client_credentials", "token_exchange"]
Tenancy: TypeAlias = Literal["single-tenant", "multi-tenant"]

ASSERTION_LIFETIME_S_MAX: Final = 60
"""HelseID refuses an assertion that lives longer (HelseID reference, section 1)."""

_RETRY: Final = RetryPolicy(attempts_max=5)


class HelseIdOptions(Value, frozen=True, kw_only=True):
    """One HelseID client. The names are those of the configuration's ``helseid`` section.

    Attributes:
        issuer: HelseID's issuer, with or without a path.
        client_id: the client's GUID in self-service.
        scope: the scopes that are needed, space-separated; each must be granted.
        sender_constraint: ``dpop``, or ``bearer`` for tokens that anyone may use who holds them.
        grant: ``client_credentials``, or ``token_exchange`` on behalf of a signed-in person.
        subject_token_file: holds the person's access token; read anew at each exchange.
        organization_parent: 9 digits; only a multi-tenant client sends it.
        organization_child: 9 digits.
        tenancy: as registered; None means multi-tenant if a parent is given, else single-tenant.
        token_endpoint_host: where the token endpoint must be; None: the issuer's own host.
        resource: a resource indicator (RFC 8707) that narrows the token's audience.
        assertion_lifetime_s: how long an assertion may be used, 1 to 60 s.
        renewal_margin_s_max: a token is renewed this long before its end, or at 80 % of its life
            if that is later.
        retry: how often and after which waits to call again when a failure may pass.
        retry_after_s_max: a ``Retry-After`` beyond this ends the call at once instead.
        attempt_s_max: the longest that one call may take.
    """

    issuer: str
    client_id: str
    scope: str = "nhn:pts/api"
    sender_constraint: SenderConstraint = "dpop"
    grant: GrantKind = "client_credentials"
    subject_token_file: Path | None = None
    organization_parent: str | None = None
    organization_child: str | None = None
    tenancy: Tenancy | None = None
    token_endpoint_host: str | None = None
    resource: str | None = None
    assertion_lifetime_s: int = 30
    renewal_margin_s_max: float = 30.0
    retry: RetryPolicy = _RETRY
    retry_after_s_max: float = 300.0
    attempt_s_max: float = 30.0
