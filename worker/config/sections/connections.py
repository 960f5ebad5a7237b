"""How the worker connects to HelseID and PTS."""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from worker.config.sections.base import Section
from worker.config.values import (
    FILE,
    HTTP_URL,
    ORGANIZATION_NUMBER,
    PROXY_URL,
    SOME_TEXT,
    Example,
    one_of,
    whole,
)

SigningAlgorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"
]
SenderConstraint: TypeAlias = Literal["dpop", "bearer"]
Grant: TypeAlias = Literal["client_credentials", "token_exchange"]
Tenancy: TypeAlias = Literal["single-tenant", "multi-tenant"]
Engine: TypeAlias = Literal["httpx", "fast"]
Environment: TypeAlias = Literal["test", "test-internet", "production"]
ASSERTION_LIFETIME_MAX_S: Final = 60
"""HelseID accepts assertions that expire at most 60 s ahead (HelseID reference, section 1)."""


class HelseId(Section, frozen=True, kw_only=True):
    """The client at HelseID: who we are and how we prove it."""

    issuer: Annotated[
        str | None,
        HTTP_URL,
        "HelseID's issuer, with or without a path; discovery is read from it. "
        "Set by `api.environment`; this key overrides.",
        Example("https://helseid-sts.test.nhn.no"),
    ] = None
    self_service_url: Annotated[
        str | None,
        HTTP_URL,
        "Address of HelseID's self-service API, for `keys rotate`. Set by "
        "`api.environment`; this key overrides.",
        Example("https://api.selvbetjening.test.nhn.no"),
    ] = None
    client_id: Annotated[
        str | None,
        SOME_TEXT,
        "The client's id, as HelseID's self-service gives it.",
        Example("00000000-0000-0000-0000-000000000000"),
    ] = None
    private_jwk_file: Annotated[
        Path | None,
        FILE,
        "File with the client's private key: a JWK, a PEM, or the JSON that HelseID's "
        "self-service gives.",
        Example("/run/secrets/helseid.jwk"),
    ] = None
    private_key_alg: Annotated[
        SigningAlgorithm | None,
        one_of(SigningAlgorithm),
        "Signature algorithm of the key, where the file does not say.",
        Example("PS256"),
    ] = None
    private_key_kid: Annotated[
        str | None,
        SOME_TEXT,
        "Key id registered at HelseID, where the file does not say; else the key's "
        "thumbprint (RFC 7638).",
        Example("my-key-2026"),
    ] = None
    scope: Annotated[str, SOME_TEXT, "Scopes to ask for, separated by spaces."] = "nhn:pts/api"
    sender_constraint: Annotated[
        SenderConstraint,
        one_of(SenderConstraint),
        "`dpop` binds the token to a key of this process; `bearer` does not.",
    ] = "dpop"
    grant: Annotated[
        Grant,
        one_of(Grant),
        "`client_credentials`, or `token_exchange` (RFC 8693) with a signed-in person's token.",
    ] = "client_credentials"
    subject_token_file: Annotated[
        Path | None,
        FILE,
        "File with the person's access token, for `token_exchange`. Never stored.",
        Example("/run/secrets/subject-token"),
    ] = None
    token_endpoint_host: Annotated[
        str | None,
        SOME_TEXT,
        "Host of the token endpoint, where it is not the issuer's.",
        Example("sts.example.no"),
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
        "Organisation number of the unit (virksomhet), if one is to be sent.",
        Example("888888888"),
    ] = None
    tenancy: Annotated[
        Tenancy | None,
        one_of(Tenancy),
        "How the client is registered at HelseID: `single-tenant` or `multi-tenant`. "
        "Unset: multi-tenant if `helseid.organization_parent` is set.",
        Example("multi-tenant"),
    ] = None
    assertion_lifetime_s: Annotated[
        int,
        whole(1, ASSERTION_LIFETIME_MAX_S),
        "Seconds that a client assertion is valid; HelseID takes at most 60.",
    ] = 30


class Api(Section, frozen=True, kw_only=True):
    """Where PTS is."""

    environment: Annotated[
        Environment | None,
        one_of(Environment),
        "Sets `api.base_url` and `helseid.issuer` together. `test` and "
        "`production` are on Helsenett; `test-internet` is the test on the internet.",
        Example("test"),
    ] = None
    base_url: Annotated[
        str | None,
        HTTP_URL,
        "PTS's address. Set by `api.environment`; this key overrides.",
        Example("https://api.test.pts.nhn.no"),
    ] = None
    engine: Annotated[
        Engine,
        one_of(Engine),
        "What carries the calls to PTS: `httpx`, or `fast` for high rates (docs/performance.md); "
        "`fast` knows no proxy.",
    ] = "httpx"


class Network(Section, frozen=True, kw_only=True):
    """The way to other machines. Nothing of it is taken from `HTTP_PROXY` and its like."""

    proxy_url: Annotated[
        str | None,
        PROXY_URL,
        "HTTP proxy for all calls to HelseID, PTS, Pushgateway and OTLP, except to this very "
        "machine. It must let CONNECT through.",
        Example("http://proxy.example:3128"),
    ] = None
    proxy_credentials_file: Annotated[
        Path | None,
        FILE,
        "File with one line, `user:password`, where the proxy asks for it (HTTP Basic).",
        Example("/run/secrets/proxy-credentials"),
    ] = None


class Tls(Section, frozen=True, kw_only=True):
    """Trust. Verification cannot be turned off."""

    ca_file: Annotated[
        Path | None,
        FILE,
        "PEM file with a private CA to trust besides the usual ones: for HelseID, PTS, telemetry "
        "and PostgreSQL.",
        Example("/etc/ssl/private-ca.pem"),
    ] = None
