"""Options of the HelseID client."""

from pathlib import Path
from typing import Final, Literal, TypeAlias

from worker.core.retry import RetryPolicy
from worker.core.value import Value

SenderConstraint: TypeAlias = Literal["dpop", "bearer"]
GrantKind: TypeAlias = Literal["client_credentials", "token_exchange"]
Tenancy: TypeAlias = Literal["single-tenant", "multi-tenant"]

_RETRY: Final = RetryPolicy(attempts_max=5)


class HelseIdOptions(Value, frozen=True, kw_only=True):
    """One HelseID client, named as in the configuration section ``helseid``.

    Attributes:
        issuer: HelseID's issuer, with or without a path.
        scope: required scopes, space-separated.
        sender_constraint: ``dpop``, or ``bearer`` for tokens that are not bound to a key.
        grant: ``client_credentials``, or ``token_exchange`` on behalf of a signed-in person.
        subject_token_file: file with the person's access token, read at each exchange.
        organization_parent: 9 digits; sent by multi-tenant clients only.
        tenancy: as registered; None: multi-tenant if a parent is set, else single-tenant.
        attempt_s_max: seconds that one request may take, with its answer.
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
    retry: RetryPolicy = _RETRY
    attempt_s_max: float = 30.0
