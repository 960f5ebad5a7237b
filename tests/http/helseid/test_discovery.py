"""Discovery: read once a day, compared, and never from somewhere unsafe."""

import pytest

from tests.support.certificates import make_authority, server_context
from tests.support.raw_server import http
from tests.support.standin import standin
from worker.core.retry import RetryPolicy
from worker.errors import ConfigurationError, UnavailableError
from worker.helseid.client import Discovery, HelseIdClient, helseid_client
from worker.tls import client_context

DAY_S = 24 * 3600.0


async def test_read_once_a_day(clients, server, fake):
    """The description is read once, from an issuer with a path, and again after 24 h."""
    helseid = clients.open(issuer=f"{server.issuer}/")
    first = await helseid.tokens.discovery.metadata()
    fake.advance(DAY_S - 1)
    await helseid.tokens.discovery.metadata()
    assert (first.issuer, first.token_endpoint) == (server.issuer, server.endpoint)
    assert server.discoveries == 1
    fake.advance(2)
    await helseid.tokens.discovery.metadata()
    assert server.discoveries == 2


@pytest.mark.promise("7")
@pytest.mark.parametrize(
    "answers",
    [
        [http(status="404 Not Found")],
        [http({"issuer": "https://other.example"})],
        [http(status="503 Unavailable")] * 5,
    ],
)
async def test_one_wrong_answer_ends_nothing(answers, clients, server, fake):
    """Nor an outage: what was read a day ago serves on, and is read again later."""
    helseid = clients.open()
    first = await helseid.tokens.discovery.metadata()
    fake.advance(DAY_S + 1)
    server.discovery_replies += answers
    assert await helseid.tokens.discovery.metadata() == first
    assert server.discoveries == 1 + len(answers)
    fake.advance(590)
    assert await helseid.tokens.discovery.metadata() == first
    assert server.discoveries == 1 + len(answers), "not with each request"
    fake.advance(11)
    assert await helseid.tokens.discovery.metadata() == first
    assert server.discoveries == 2 + len(answers)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"status": 200, "body": "{}"}, ConfigurationError, "names another"),
        ({"status": 404}, UnavailableError, "HTTP 404"),
        ({"status": 302}, UnavailableError, "HTTP 302"),
    ],
)
async def test_wrong_issuer(fault, error, message, clients, server):
    """One that is not HelseID's is not retried; a gateway may send a status for a while."""
    server.fault("status", area="discovery", **fault)
    with pytest.raises(error, match=rf"^helseid\.issuer: .*{message}"):
        await clients.open().tokens.discovery.metadata()
    assert server.discoveries == 1


@pytest.mark.promise("8")
async def test_what_another_calls_itself(clients, server):
    """The other issuer's name is not shown: it could contain anything."""
    server.discovery_more = {"issuer": "https://other.example/x"}
    with pytest.raises(ConfigurationError, match="OpenID configuration names another") as caught:
        await clients.open().tokens.discovery.metadata()
    assert "other.example" not in caught.value.message + caught.value.hint


async def test_certificate(fake, tmp_path):
    """An untrusted certificate is named as such, at once; a CA file makes it trusted."""
    authority = make_authority(tmp_path)
    with standin(tls=server_context(authority)) as made:

        def discovery(http):
            return Discovery(made.issuer, HelseIdClient(http, fake.runtime), fake.runtime)

        async with helseid_client() as http:
            with pytest.raises(UnavailableError, match="certificate is not accepted: ") as e:
                await discovery(http).metadata()
        assert (fake.waits_s, "tls.ca_file" in e.value.hint) == ([], True)
        async with helseid_client(client_context(authority.file)) as http:
            assert (await discovery(http).metadata()).issuer == made.issuer


@pytest.mark.parametrize(
    ("endpoint", "is_taken"),
    [
        ("http://127.0.0.1:{port}/elsewhere/t", True),
        ("HTTP://127.0.0.1:{port}/t", True),
        ("http://127.0.0.1:{other}/t", False),
        ("http://127.0.0.2:{port}/t", False),
        ("https://127.0.0.1:{port}/t", False),
        ("http://127.0.0.1:{port}/\x00", False),
        ("http://evil.example/token", False),
        ("https:///token", False),
    ],
)
async def test_where_assertions_go(endpoint, is_taken, clients, server):
    """To the issuer's scheme, host and port, and nowhere else."""
    port = int(server.origin.rpartition(":")[2])
    endpoint = endpoint.format(port=port, other=port ^ 1)
    server.discovery_more = {"token_endpoint": endpoint}
    discovery = clients.open().tokens.discovery
    if is_taken:
        assert (await discovery.metadata()).token_endpoint == endpoint
        return
    with pytest.raises(ConfigurationError, match="token_endpoint is not at the issuer"):
        await discovery.metadata()


@pytest.mark.promise("10")
async def test_a_large_body_is_not_read(clients, server):
    """It is given up where it is larger than any answer of HelseID's."""
    server.discovery_reply = http(b" " * (1_048_576 + 1))
    runtime = clients.fake.runtime
    async with helseid_client() as client:
        helseid = HelseIdClient(client, runtime, RetryPolicy(attempts_max=1))
        with pytest.raises(UnavailableError, match="more than 1048576 bytes"):
            await Discovery(server.issuer, helseid, runtime).metadata()
