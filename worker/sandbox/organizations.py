"""Organisation numbers in ``assertion_details``, and HelseID's error codes.

See HelseID reference, sections 3 and 7 (CONF 750616578).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.sandbox.clients import Client
from worker.sandbox.jose import Claims

MULTI_TENANT: Final = "urn:oid:1.0.6523"
CHILD_ONLY: Final = frozenset(
    {"urn:oid:2.16.578.1.12.4.1.4.101", "urn:oid:2.16.578.1.12.4.1.2.101"}
)
CLAIM: Final = "helseid://claims/client/claims/"
_NUMBER: Final = re.compile(r"[0-9]{9}")


class OrganizationError(Exception):
    """An organisation is refused.

    Attributes:
        code: ``HID-1001`` to ``HID-1010``.
    """

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(f"{code}: {problem}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Organizations:
    """The organisation part of a token.

    Attributes:
        claims: the organisation claims.
        rejected: whether the scopes are rejected, because the terms of use are not signed.
    """

    claims: Claims
    rejected: bool = False


def read_organizations(client: Client, assertion: Mapping[str, object]) -> Organizations:
    """The organisation claims for a client and its assertion.

    Raises:
        OrganizationError: the organisation is invalid or not allowed for this client.
    """
    if "assertion_details" not in assertion:
        return _without(client)
    system, value = _identifier(assertion["assertion_details"])
    if client.tenancy == "none":
        raise OrganizationError("HID-1010", "the configuration does not support org claims")
    if system in CHILD_ONLY:
        return _child_only(client, value)
    parent, child = _parent_and_child(value)
    if client.tenancy == "multi-tenant":
        return _multi(client, parent, child)
    return _single_with_parent(client, parent, child)


def _without(client: Client) -> Organizations:
    if client.tenancy == "single-tenant":
        return Organizations({f"{CLAIM}orgnr_parent": client.organization})
    if client.tenancy == "multi-tenant":
        return Organizations({f"{CLAIM}orgnr_supplier": client.organization})
    return Organizations({})


def _identifier(details: object) -> tuple[str, str]:
    """System and value of the one ``helseid_authorization``, from an object or an array."""
    elements = details if isinstance(details, list) else [details]
    authorizations = [
        element
        for element in elements
        if isinstance(element, dict) and element.get("type") == "helseid_authorization"
    ]
    if len(authorizations) != 1:
        raise OrganizationError("HID-1007", "expected one helseid_authorization")
    node: object = authorizations[0]
    for name in ("practitioner_role", "organization", "identifier"):
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or node.get("type") != "ENH":
        raise OrganizationError("HID-1007", "no identifier of type ENH")
    system, value = node.get("system"), node.get("value")
    if system not in CHILD_ONLY | {MULTI_TENANT} or not isinstance(value, str):
        raise OrganizationError("HID-1007", "unknown system or no value")
    return system, value


def _parent_and_child(value: str) -> tuple[str, str]:
    """Parent and child from ``NO:ORGNR:<parent>``, ``…:<parent>:`` or ``…:<parent>:<child>``."""
    parts = value.split(":")
    if parts[:2] != ["NO", "ORGNR"] or len(parts) not in {3, 4}:
        raise OrganizationError("HID-1007", "expected NO:ORGNR:<parent>[:<child>]")
    parent, child = parts[2], parts[3] if len(parts) == 4 else ""  # noqa: PLR2004
    for number in (parent, child or parent):
        _check_number(number)
    return parent, child


def _check_number(number: str) -> None:
    if not _NUMBER.fullmatch(number):
        raise OrganizationError("HID-1004", "an organisation number has nine digits")


def _child_only(client: Client, child: str) -> Organizations:
    if client.tenancy == "multi-tenant":
        raise OrganizationError("HID-1010", "a multi-tenant client names parent and child together")
    _check_number(child)
    _check_child(client, child, code="HID-1002")
    return _claims(client.organization, child)


def _check_child(client: Client, child: str, *, code: str) -> None:
    if not client.may_name_child:
        raise OrganizationError("HID-1006", "passing a child organisation is not enabled")
    if child not in client.children:
        raise OrganizationError(code, "the child organisation is not whitelisted")


def _single_with_parent(client: Client, parent: str, child: str) -> Organizations:
    if not client.may_name_parent:
        raise OrganizationError("HID-1005", "passing a parent organisation is not enabled")
    if parent != client.organization:
        raise OrganizationError("HID-1001", "the parent organisation is not whitelisted")
    if child:
        _check_child(client, child, code="HID-1003")
    return _claims(parent, child)


def _multi(client: Client, parent: str, child: str) -> Organizations:
    # HelseID checks the parent against the delegations, but not the child (CONF 749371403).
    if parent not in client.delegations:
        raise OrganizationError("HID-1001", "the parent organisation has not delegated")
    organizations = _claims(parent, child)
    supplier = {f"{CLAIM}orgnr_supplier": client.organization}
    return Organizations(organizations.claims | supplier, rejected=parent in client.unsigned)


def _claims(parent: str, child: str) -> Organizations:
    claims = {f"{CLAIM}orgnr_parent": parent}
    if child:
        claims[f"{CLAIM}orgnr_child"] = child
    return Organizations(claims)
