"""What tests of the HelseID client share beside the stand-in."""

import json
from pathlib import Path

import pytest

from tests.support.raw_server import Reply, http
from worker.errors import RefusedError
from worker.helseid.authorizer import HelseIdAuthorizer

BEARER_ID = "6f1a3c0e-0000-4000-8000-000000000002"
"""The same client's registration without DPoP."""
YEARS_S = 20 * 365 * 86_400
"""The judge of proofs looks at the real clock, the tests' clock is another."""


def write_secret(path: Path, content: object) -> Path:
    """Write a file that only its owner can read."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    return path


def refusal(code: str, *, status: str = "400 Bad Request", **more: str) -> Reply:
    """An OAuth error."""
    return http({"error": code, **more}, status=status)


async def refused(client: HelseIdAuthorizer) -> RefusedError:
    """The refusal of its request for a token."""
    with pytest.raises(RefusedError) as caught:
        await client.tokens.token()
    return caught.value
