"""What is made of the list of keys: the reference file."""

import tomllib
from pathlib import Path

from worker.cli.commands.init import settings_toml
from worker.config import load
from worker.config.needs import unmet
from worker.config.settings import KEYS

ROOT = Path(__file__).parents[2]


def test_the_reference_file_is_the_generated_one_and_sets_nothing(tmp_path):
    """``config/worker.toml`` says what the program does, and leaves every default alone."""
    assert (ROOT / "config/worker.toml").read_text() == settings_toml({})
    loaded = load({}, environ={}, cwd=tmp_path, config_path=ROOT / "config/worker.toml")
    assert set(loaded.origins.values()) == {"default"}


def test_every_line_of_the_reference_file_works_when_uncommented(tmp_path):
    """Each key's line is TOML that the worker takes, except where two keys exclude each other."""
    lines = [
        line[1:] if line[:1] == "#" != line[1:2] and line[1:2] != " " else line
        for line in settings_toml({}).splitlines()
    ]
    content = "\n".join(line for line in lines if not line.startswith('path = "/var/'))
    (tmp_path / "all.toml").write_text(content)
    document = tomllib.loads(content)
    assert set(document) == {name.partition(".")[0] for name in KEYS}
    loaded = load({}, environ={}, cwd=tmp_path, config_path=Path("all.toml"))
    unset = {name for name in KEYS if loaded.origins[name] == "default"}
    assert unset == {"roster.path"}


def test_the_sandbox_file_is_complete(tmp_path):
    """``config/sandbox.toml`` names all that a sync needs; only its files are to be made."""
    copy = tmp_path / "config/sandbox.toml"
    copy.parent.mkdir()
    copy.write_bytes((ROOT / "config/sandbox.toml").read_bytes())
    loaded = load({}, environ={}, cwd=tmp_path, config_path=copy)
    assert loaded.settings.helseid.issuer == "http://127.0.0.1:8801/helseid"
    assert loaded.settings.api.base_url == "http://127.0.0.1:8802"
    problems = [*unmet(loaded.settings, "sync")]
    assert problems
    assert all("/demo/" in problem for problem in problems)
    (tmp_path / "demo").mkdir()
    for name in ("client-key.json", "pseudonym.key"):
        (tmp_path / "demo" / name).write_bytes(bytes(32))
        (tmp_path / "demo" / name).chmod(0o600)
    assert [*unmet(loaded.settings, "sync")] == []
