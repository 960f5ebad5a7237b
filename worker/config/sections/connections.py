"""How the worker connects to HelseID and PTS."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from worker.config.values import (
    HTTP_URL,
    NONEMPTY_TEXT,
    ORGANIZATION_NUMBER,
    PROXY_URL,
    Example,
    Section,
)

SigningAlgorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"
]
SenderConstraint: TypeAlias = Literal["dpop", "bearer"]
Grant: TypeAlias = Literal["client_credentials", "token_exchange"]
Tenancy: TypeAlias = Literal["single-tenant", "multi-tenant"]
Environment: TypeAlias = Literal["test", "test-internet", "production"]


class HelseId(Section, frozen=True, kw_only=True):
    """The HelseID client."""

    issuer: Annotated[
        str | None,
        HTTP_URL,
        "HelseID's issuer, with or without a path, from which discovery is read. "
        "Default: from `api.environment`.",
        Example("https://helseid-sts.test.nhn.no"),
    ] = None
    client_id: Annotated[
        str | None,
        NONEMPTY_TEXT,
        "The client id from HelseID self-service.",
        Example("00000000-0000-0000-0000-000000000000"),
    ] = None
    private_jwk_file: Annotated[
        Path | None,
        "File with the client's private key: a JWK, a PEM file, or the JSON from HelseID "
        "self-service.",
        Example("/run/secrets/helseid.jwk"),
    ] = None
    private_key_alg: Annotated[
        SigningAlgorithm | None,
        "Signature algorithm of the key. Default: the file's.",
        Example("PS256"),
    ] = None
    private_key_kid: Annotated[
        str | None,
        NONEMPTY_TEXT,
        "Key id registered at HelseID. Default: the file's, else the key's thumbprint (RFC 7638).",
        Example("my-key-2026"),
    ] = None
    scope: Annotated[str, NONEMPTY_TEXT, "Scopes to request, separated by spaces."] = "nhn:pts/api"
    sender_constraint: Annotated[
        SenderConstraint,
        "`dpop` binds the token to a key of this process, `bearer` does not.",
    ] = "dpop"
    grant: Annotated[
        Grant,
        "`client_credentials`, or `token_exchange` (RFC 8693) with a signed-in person's token.",
    ] = "client_credentials"
    subject_token_file: Annotated[
        Path | None,
        "File with the person's access token, for `token_exchange`. The token is never stored.",
        Example("/run/secrets/subject-token"),
    ] = None
    organization_parent: Annotated[
        str | None,
        ORGANIZATION_NUMBER,
        "Organisation number of the legal entity, for a multi-tenant client.",
        Example("999999999"),
    ] = None
    organization_child: Annotated[
        str | None,
        ORGANIZATION_NUMBER,
        "Organisation number of the unit (virksomhet), if required.",
        Example("888888888"),
    ] = None
    tenancy: Annotated[
        Tenancy | None,
        "The client's registration at HelseID: `single-tenant` or `multi-tenant`. "
        "Default: multi-tenant if `helseid.organization_parent` is set.",
        Example("multi-tenant"),
    ] = None


class Api(Section, frozen=True, kw_only=True):
    """The PTS API."""

    environment: Annotated[
        Environment | None,
        "Sets `api.base_url` and `helseid.issuer`. `test` and `production` are on "
        "Helsenett; `test-internet` is the test environment on the internet.",
        Example("test"),
    ] = None
    base_url: Annotated[
        str | None,
        HTTP_URL,
        "Base URL of PTS. Default: from `api.environment`.",
        Example("https://api.test.pts.nhn.no"),
    ] = None
    contract_file: Annotated[
        Path | None,
        "The contract with PTS, a TOML file: what is asked, and what answers look like. Default: "
        "the one that comes with the program; `pts-worker contract show` prints it.",
        Example("pts.toml"),
    ] = None


class Network(Section, frozen=True, kw_only=True):
    """The network. `HTTP_PROXY` and similar variables are ignored."""

    proxy_url: Annotated[
        str | None,
        PROXY_URL,
        "HTTP proxy for HelseID, PTS, Pushgateway and the ping, except on loopback addresses. It "
        "must allow CONNECT.",
        Example("http://proxy.example:3128"),
    ] = None
    proxy_credentials_file: Annotated[
        Path | None,
        "File with one line, `user:password`, if the proxy requires it (HTTP Basic).",
        Example("/run/secrets/proxy-credentials"),
    ] = None


class Tls(Section, frozen=True, kw_only=True):
    """TLS. Verification cannot be disabled."""

    ca_file: Annotated[
        Path | None,
        "PEM file with a private CA, trusted in addition to the system's, for HelseID, PTS, "
        "telemetry and PostgreSQL.",
        Example("/etc/ssl/private-ca.pem"),
    ] = None
