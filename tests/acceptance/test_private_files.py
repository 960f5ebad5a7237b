"""Whatever the program writes is its owner's alone, though the umask would let everybody in."""

import stat
from pathlib import Path

import pytest

from tests.support.program import Sandbox, run

pytestmark = pytest.mark.promise("8")

OWN = ("worker.toml", "roster.csv", "client.jwk", "pseudonym.key")
"""What a test writes itself, as the user would."""


def mode_of(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def modes(folder: Path) -> dict[str, str]:
    """Of all that the program made there, by its name in the folder."""
    return {
        str(path.relative_to(folder)): mode_of(path)
        for path in sorted(folder.rglob("*"))
        if path.name not in OWN and not path.name.startswith(("in-", "out-", "err-"))
    }


def test_every_file_is_private(served: Sandbox, tmp_path: Path):
    """Database, keys, report, exports, numbers and folders."""
    folder = tmp_path / "worker"
    folder.mkdir(mode=0o700)
    worker = served.install(folder, f"sqlite:///{folder / 'pts.db'}")
    worker.configure(telemetry={"textfile": str(folder / "numbers.prom")})
    for line in (
        "db upgrade",
        "sync",
        "report --out report.html",
        "export --out exported/nightly",
        "keys new --out new.jwk",
        "keys pseudonym --out new.key",
    ):
        ended = worker.run(*line.split())  # the umask of these processes is 0
        assert ended.code == 0, ended.story()
    found = modes(folder)
    assert {"pts.db", "report.html", "numbers.prom", "new.jwk", "new.key"} <= set(found)
    assert any(name.startswith("exported/nightly/") for name in found)
    folders = {name for name in found if (folder / name).is_dir()}
    assert found == {name: "0o700" if name in folders else "0o600" for name in found}


def test_a_database_that_others_can_read(served: Sandbox, sqlite_url: str, tmp_path: Path):
    """78 in every command, with the command that mends it; ``doctor`` has it as a line."""
    worker = served.install(tmp_path, sqlite_url)
    worker.store.path.chmod(0o644)
    for command in (["sync"], ["status"], ["db", "upgrade"], ["export", "--out", "x"]):
        ended = worker.run(*command)
        assert ended.code == 78, ended.story()
        assert f"chmod 0600 {worker.store.path}" in ended.message
    ended = run("--config", str(worker.config), "doctor", "--json", folder=tmp_path)
    (line,) = (one for one in ended.document["lines"] if one["name"] == "database")
    assert (line["state"], ended.code) == ("FAIL", 78)
    worker.store.path.chmod(0o640)
    assert "database.group_readable = true" in worker.run("status").message
    worker.configure(database={"group_readable": True})
    assert worker.sync().code == 0
    assert mode_of(worker.store.path) == "0o640"
