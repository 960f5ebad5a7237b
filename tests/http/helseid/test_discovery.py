"""Discovery: read once a day, compared, and never from somewhere unsafe."""

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.http.helseid.support import Canned, TokenEndpoint, server_tls
from worker.errors import ConfigurationError, UnavailableError
from worker.helseid.authorizer import open_helseid
from worker.helseid.options import HelseIdOptions
from worker.helseid.transport import helseid_client
from worker.tls import client_context

DAY_S = 24 * 3600.0


async def test_read_once_a_day(clients, server, fake):
    """The description is read once, from an issuer with a path, and again after 24 h."""
    helseid = clients.open(issuer=f"{server.issuer}/")
    first = await helseid.discovery.metadata()
    fake.advance(DAY_S - 1)
    await helseid.discovery.metadata()
    assert (server.issuer, server.endpoint) == (first.issuer, first.token_endpoint)
    assert 1 == server.discoveries
    fake.advance(2)
    await helseid.discovery.metadata()
    assert 2 == server.discoveries


async def test_trailing_slash_tolerated(clients, server):
    """HelseID's own spelling of its issuer becomes the audience."""
    server.discovery = {"issuer": f"{server.issuer}/", "token_endpoint": server.endpoint}
    token_source = clients.open().tokens
    await token_source.token()
    assert f"{server.issuer}/" == server.seen[0].assertion["aud"]


@pytest.mark.parametrize(
    "answer", [Canned(status=404, body="no"), Canned(body={"issuer": "https://other.example"})]
)
async def test_one_odd_answer_ends_nothing(answer, clients, server, fake):
    """Nor does an answer that is wrong: what was read a day ago serves on, and is read again."""
    helseid = clients.open()
    first = await helseid.discovery.metadata()
    fake.advance(DAY_S + 1)
    server.canned_discovery.append(answer)
    assert first == await helseid.discovery.metadata()
    fake.advance(601)
    assert first == await helseid.discovery.metadata()
    assert 3 == server.discoveries


async def test_kept_while_unavailable(clients, server, fake):
    """A day-old description serves on while HelseID does not answer."""
    helseid = clients.open()
    first = await helseid.discovery.metadata()
    fake.advance(DAY_S + 1)
    server.canned_discovery.extend([Canned(status=503, body="")] * 5)
    assert first == await helseid.discovery.metadata()
    await helseid.discovery.metadata()
    assert 6 == server.discoveries


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            Canned(body={"issuer": "https://other.example", "token_endpoint": "https://o/t"}),
            "but the metadata names",
        ),
        (Canned(body={"issuer": "https://other.example"}), "has no issuer or no token_endpoint"),
        (Canned(status=404, body="no"), "HTTP 404"),
        (Canned(status=302, body="", headers={"Location": "http://x.example"}), "HTTP 302"),
    ],
)
async def test_wrong_issuer(answer, message, clients, server):
    """An issuer that is not HelseID's, or another's, is a configuration error and not retried."""
    server.canned_discovery.append(answer)
    with pytest.raises(ConfigurationError, match=rf"^helseid\.issuer: .*{message}"):
        await clients.open().discovery.metadata()
    assert 1 == server.discoveries


@pytest.mark.parametrize(
    ("issuer", "told"),
    [
        ("https://other.example/x", "https://other.example/x"),
        ("https://other.example/13097248022", "something that is not a URL"),
        ("https://other.example/?of=somebody", "something that is not a URL"),
        ("a page of words", "something that is not a URL"),
    ],
)
async def test_what_another_calls_itself(issuer, told, clients, server):
    """Another issuer is named if it is an address, and nothing else of the answer is repeated."""
    body = {"issuer": issuer, "token_endpoint": "https://o/t"}
    server.canned_discovery.append(Canned(body=body))
    with pytest.raises(ConfigurationError) as caught:
        await clients.open().discovery.metadata()
    assert caught.value.message.endswith(f"the metadata names {told}")


async def test_unsafe_token_endpoint(clients, server):
    """A token endpoint in clear text elsewhere is refused."""
    server.discovery = {"issuer": server.issuer, "token_endpoint": "http://evil.example/token"}
    with pytest.raises(ConfigurationError, match="token_endpoint: http://"):
        await clients.open().discovery.metadata()


async def test_not_json(clients, server):
    """A page in HelseID's place is retried and then means that HelseID is unavailable."""
    server.canned_discovery.extend([Canned(body="<html>"), Canned(body=[1])])
    assert server.issuer == (await clients.open().discovery.metadata()).issuer
    server.canned_discovery.extend([Canned(body="<html>")] * 5)
    with pytest.raises(UnavailableError, match=r"not JSON \(5 attempts\)"):
        await clients.open().discovery.metadata()


def self_signed(folder) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that nobody trusts yet, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(files[0]), str(files[1])


async def test_certificate(fake, client_key, tmp_path):
    """An untrusted certificate is named as such, at once; a CA file makes it trusted."""
    certificate, key = self_signed(tmp_path)
    with TokenEndpoint(fake.now, tls=server_tls(certificate, key)) as endpoint:
        options = HelseIdOptions(issuer=endpoint.issuer, client_id="c")
        async with helseid_client() as http:
            helseid = open_helseid(options, client_key, fake.runtime, http)
            with pytest.raises(
                UnavailableError, match=r"certificate of .* is not trusted: self"
            ) as e:
                await helseid.discovery.metadata()
        assert ([], True) == (fake.waits_s, "tls.ca_file" in e.value.hint)
        async with helseid_client(client_context(tmp_path / "server.pem")) as http:
            helseid = open_helseid(options, client_key, fake.runtime, http)
            assert endpoint.issuer == (await helseid.discovery.metadata()).issuer


async def test_a_token_endpoint_on_another_host(clients, server):
    """Assertions go to the issuer's host, unless the operator names another one."""
    server.discovery = {"issuer": server.issuer, "token_endpoint": "https://evil.example/token"}
    with pytest.raises(ConfigurationError, match="another scheme, host or port") as caught:
        await clients.open().discovery.metadata()
    assert "helseid.token_endpoint_host" in caught.value.hint


@pytest.mark.parametrize(
    ("named", "endpoint", "is_taken"),
    [
        (None, "http://127.0.0.1:{other}/t", False),
        (None, "http://127.0.0.1/t", False),
        (None, "https://127.0.0.1:{port}/t", False),
        (None, "http://127.0.0.1:{port}/elsewhere/t", True),
        ("127.0.0.2", "http://127.0.0.2/t", True),
        ("127.0.0.2", "http://127.0.0.2:80/t", True),
        ("127.0.0.2:80", "http://127.0.0.2/t", True),
        ("127.0.0.2", "http://127.0.0.2:8080/t", False),
        ("127.0.0.2:8080", "http://127.0.0.2:8080/t", True),
        ("127.0.0.2:8080", "http://127.0.0.2/t", False),
        ("LOCALHOST:8080", "http://localhost:8080/t", True),
        ("127.0.0.2", "https://127.0.0.2:80/t", False),
        ("127.0.0.2", "http://127.0.0.1:{port}/t", False),
    ],
)
async def test_where_assertions_go(named, endpoint, is_taken, clients, server):
    """To the issuer's scheme, host and port, or to the host and port that the operator names."""
    port = int(server.origin.rpartition(":")[2])
    endpoint = endpoint.format(port=port, other=port ^ 1)
    server.discovery = {"issuer": server.issuer, "token_endpoint": endpoint}
    discovery = clients.open(token_endpoint_host=named).discovery
    if is_taken:
        assert endpoint == (await discovery.metadata()).token_endpoint
        return
    with pytest.raises(ConfigurationError, match="another scheme, host or port"):
        await discovery.metadata()


@pytest.mark.parametrize("named", ["a/b", "https://a", "a:b", "u@a", "a?b", "", "::1"])
async def test_what_is_no_host(named, clients):
    """A path, a scheme or a user is not taken for a host."""
    with pytest.raises(ConfigurationError, match=r"^helseid\.token_endpoint_host: "):
        clients.open(token_endpoint_host=named)
