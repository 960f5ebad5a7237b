"""What every simulated world begins with: a folder with keys, and an empty database."""

import json
import shutil
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from joserfc.jwk import ECKey

from tests.support.databases import migrate_now
from tests.support.simulation.upstream import BASE_URL, ISSUER
from worker.config import Loaded, load
from worker.sandbox.clients import CLIENT_ID

PSEUDONYM_KEY = bytes((11 * n * n + 5) % 256 for n in range(48))


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What every world begins with: a folder with keys and an empty database."""

    folder: Path
    jwk: dict[str, Any]
    loaded: Loaded


def fast_folder() -> Path:
    """A new folder, in memory where the machine has such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - where it exists it is for this
    return Path(mkdtemp(prefix="pts-sim-", dir=memory if memory.is_dir() else None))


def lasting_folder() -> Path:
    """The same, until this process ends, be it one of a pool's or not."""
    folder = fast_folder()
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=1)
    return folder


@cache
def materials() -> Materials:
    """Made once a process."""
    folder = lasting_folder()
    key = ECKey.generate_key("P-256", {"kid": "sim", "alg": "ES256", "use": "sig"})
    secret = folder / "client.jwk"
    secret.write_text(json.dumps(key.as_dict(private=True)))
    secret.chmod(0o600)
    (folder / "pseudonym.key").write_bytes(PSEUDONYM_KEY)
    (folder / "pseudonym.key").chmod(0o600)
    migrate_now(f"sqlite:///{folder / 'empty.db'}")
    values = {
        "helseid.issuer": ISSUER,
        "helseid.client_id": CLIENT_ID,
        "helseid.private_jwk_file": str(secret),
        "privacy.pseudonym_key_file": str(folder / "pseudonym.key"),
        "api.base_url": BASE_URL,
        "database.url": f"sqlite:///{folder / 'unused.db'}",
        "roster.path": "roster.csv",
    }
    loaded = load(
        {name: (value, "--set") for name, value in values.items()},
        environ={},
        cwd=folder,
    )
    return Materials(folder=folder, jwk=key.as_dict(private=False), loaded=loaded)
