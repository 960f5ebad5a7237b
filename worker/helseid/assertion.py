"""Client assertions, which authenticate the client to HelseID (``private_key_jwt``)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import structlog

from worker.errors import ConfigurationError
from worker.helseid.keys import ClientKey
from worker.helseid.options import HelseIdOptions

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_log = structlog.get_logger(__name__)
_TYP: Final = "client-authentication+jwt"
_SINGLE_TENANT_SYSTEM: Final = "urn:oid:2.16.578.1.12.4.1.4.101"
_MULTI_TENANT_SYSTEM: Final = "urn:oid:1.0.6523"


class AssertionMaker:
    """Creates a new assertion for each attempt (HelseID reference, sections 1 and 3).

    Raises:
        ConfigurationError: the client id is missing, or a multi-tenant client has no parent.
    """

    def __init__(self, options: HelseIdOptions, key: ClientKey) -> None:
        if not options.client_id:
            raise ConfigurationError(
                "helseid.client_id: is not set", hint="copy the client id from HelseID self-service"
            )
        self._client_id = options.client_id
        self._lifetime_s = options.assertion_lifetime_s
        self._details = assertion_details(options)
        self._key = key

    def make(self, *, issuer: str, now: datetime, jti: str) -> str:
        """A signed assertion, to be used for one attempt.

        Args:
            issuer: HelseID's issuer, the only audience.
            now: aware; rounded down to a full second.
        """
        issued_s = int(now.timestamp())
        claims: dict[str, Any] = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": issuer,
            "iat": issued_s,
            "nbf": issued_s,
            "exp": issued_s + self._lifetime_s,
            "jti": jti,
        }
        if self._details is not None:
            claims["assertion_details"] = self._details
        return self._key.sign(typ=_TYP, claims=claims)


def assertion_details(options: HelseIdOptions) -> Mapping[str, Any] | None:
    """The organisation that the client acts for (HelseID reference, section 3), or None.

    A single-tenant client sends only the child: HelseID knows its parent organisation.

    Raises:
        ConfigurationError: a multi-tenant client has no parent.
    """
    parent, child = options.organization_parent, options.organization_child
    tenancy = options.tenancy or ("multi-tenant" if parent else "single-tenant")
    if tenancy == "single-tenant":
        if parent:
            _log.warning("helseid.organization_parent_not_sent", tenancy=tenancy)
        return _details(_SINGLE_TENANT_SYSTEM, child) if child else None
    if not parent:
        raise ConfigurationError(
            "helseid.organization_parent: is not set, but the client is multi-tenant",
            hint="set it to the organisation that the client acts for; PTS requires it",
        )
    # Without a child, HelseID's Java library ends the value here; its C# library adds a colon.
    value = f"NO:ORGNR:{parent}:{child}" if child else f"NO:ORGNR:{parent}"
    return _details(_MULTI_TENANT_SYSTEM, value)


def _details(system: str, value: str) -> Mapping[str, Any]:
    identifier = {"system": system, "type": "ENH", "value": value}
    return {
        "type": "helseid_authorization",
        "practitioner_role": {"organization": {"identifier": identifier}},
    }
