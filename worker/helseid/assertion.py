"""Client assertions, which authenticate the client to HelseID (``private_key_jwt``)."""

from typing import Any, Final

import structlog

from worker.errors import ConfigurationError
from worker.helseid.options import HelseIdOptions

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYP: Final = "client-authentication+jwt"
_LIFETIME_S: Final = 30
"""HelseID accepts at most 60 (HelseID reference, section 1)."""
_SINGLE_TENANT_SYSTEM: Final = "urn:oid:2.16.578.1.12.4.1.4.101"
_MULTI_TENANT_SYSTEM: Final = "urn:oid:1.0.6523"
_log = structlog.get_logger(__name__)


def assertion_claims(client_id: str, *, issuer: str, issued_s: int, jti: str) -> dict[str, Any]:
    """The claims of an assertion for one attempt (HelseID reference, section 1).

    Args:
        issuer: HelseID's issuer, the only audience.
        issued_s: seconds since 1970, rounded down.
    """
    return {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": issued_s,
        "nbf": issued_s,
        "exp": issued_s + _LIFETIME_S,
        "jti": jti,
    }


def organization_claim(options: HelseIdOptions) -> dict[str, Any]:
    """The claim of the organisation that the client acts for (HelseID reference, section 3).

    Empty without one. A single-tenant client sends only the child: HelseID knows its parent.

    Raises:
        ConfigurationError: a multi-tenant client has no parent.
    """
    parent, child = options.organization_parent, options.organization_child
    tenancy = options.tenancy or ("multi-tenant" if parent else "single-tenant")
    if tenancy == "multi-tenant":
        if not parent:
            raise ConfigurationError(
                "helseid.organization_parent: is not set, but the client is multi-tenant",
                hint="set it to the organisation that the client acts for; PTS requires it",
            )
        # Without a child, HelseID's Java library ends here; its C# library adds a colon.
        value = f"NO:ORGNR:{parent}:{child}" if child else f"NO:ORGNR:{parent}"
        system = _MULTI_TENANT_SYSTEM
    else:
        if parent:
            _log.warning("helseid.organization_parent_not_sent", tenancy=tenancy)
        if not child:
            return {}
        value, system = child, _SINGLE_TENANT_SYSTEM
    identifier = {"system": system, "type": "ENH", "value": value}
    details = {
        "type": "helseid_authorization",
        "practitioner_role": {"organization": {"identifier": identifier}},
    }
    return {"assertion_details": details}
