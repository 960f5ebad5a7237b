"""``init``: write a configuration file."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from worker.cli import options
from worker.cli.commands.keys import new_pseudonym_key
from worker.cli.output import json_text, write_file
from worker.errors import ConfigurationError, UsageError

_ASKED: Final = {
    "helseid.client_id": ("Client id from HelseID's self-service (empty: later)", ""),
    "roster.path": ("Roster file", "roster.csv"),
    "database.url": ("Database", "sqlite:///pts.db"),
}
_CLIENT_KEY: Final = "helseid.private_jwk_file"
_PSEUDONYM_KEY: Final = "privacy.pseudonym_key_file"
_KEY_FILES: Final = {_CLIENT_KEY: "helseid.jwk.json", _PSEUDONYM_KEY: "pseudonym.key"}
_SELF_SERVICE: Final = {"production": "https://selvbetjening.nhn.no"}
_TEST_SELF_SERVICE: Final = "https://selvbetjening.test.nhn.no"
_SCOPE: Final = "nhn:pts/api"


@click.command("init", cls=options.Command)
@click.option(
    "--out",
    type=options.NewPath(),
    default="worker.toml",
    show_default=True,
    help="The new file.",
)
@click.option("--group-readable", is_flag=True, help="Let the file's group read it (mode 0640).")
@click.pass_obj
def command(cli: options.Cli, *, out: Path, group_readable: bool) -> None:
    """Write a configuration file that describes every key, and make the two key files beside it.

    On a terminal it asks how PTS is reached, and for client, roster and database; Enter takes the
    value in brackets. It does not ask for what `--set` gives. Without a terminal it takes the same
    defaults, and you set helseid.client_id yourself.

    It ends with the client's public key, and how to register it in HelseID's self-service.

    An existing configuration is never overwritten, and existing keys are used. Only the owner can
    read the files (mode 0600); with `--group-readable` the group can read the configuration (0640).
    Relative paths in it start at its folder.

    `--json`: file, keys (those that are set), made (the new key files), public_jwk.

    Example: `pts-worker init --out worker.toml`
    """
    from worker.cli.config_file import new_toml

    if out.exists():  # before the questions
        raise ConfigurationError(
            f"{out.absolute()} already exists",
            hint="it is not overwritten: choose another name with --out",
        )
    values = _KEY_FILES | {key: _checked(key, value) for key, value in cli.flags.items()}
    if "api.environment" not in values:
        values["api.environment"] = _environment()
    for key, (question, default) in _ASKED.items():
        if key in values or (key == "roster.path" and "roster.url" in values):
            continue
        value = _ask(key, question, default) if sys.stdin.isatty() else default
        if value:
            values[key] = value
    made = _make_keys({out.parent / n: k for k, n in _KEY_FILES.items() if k not in cli.flags})
    public_jwk = _public_jwk(out.parent / values[_CLIENT_KEY])
    write_file(out, new_toml(values).encode(), mode=0o640 if group_readable else 0o600)
    document = {
        "file": str(out.absolute()),
        "keys": sorted(values),
        "made": [str(file.absolute()) for file in made],
        "public_jwk": public_jwk,
    }
    cli.emit(document, lambda: _print(out, values, document))


def _environment() -> str:
    """Which PTS, by how it is reached."""
    if not sys.stdin.isatty():
        return "test-internet"
    way = _choose("PTS over the internet or over Helsenett?", ["internet", "helsenett"])
    if way == "internet":
        return "test-internet"
    return _choose("Test or production?", ["test", "production"])


def _choose(question: str, choices: list[str]) -> str:
    kind = click.Choice(choices, case_sensitive=False)
    answer: str = click.prompt(question, default=choices[0], type=kind, err=True)
    return answer


def _make_keys(wanted: Mapping[Path, str]) -> list[Path]:
    """Make those key files that are missing; each with the key that names it.

    Raises:
        ConfigurationError: one cannot be written.
    """
    from worker.files import is_missing
    from worker.helseid.keys import new_client_key

    made = [file for file in wanted if is_missing(file)]
    for file in made:
        is_client = wanted[file] == _CLIENT_KEY
        write_file(file, new_client_key("ec").document() if is_client else new_pseudonym_key())
    return made


def _public_jwk(file: Path) -> Mapping[str, Any] | None:
    """What is registered; None if the key is still to come.

    Raises:
        ConfigurationError: what is there is no key.
    """
    from worker.files import is_missing
    from worker.helseid.keys import load_client_key

    return None if is_missing(file) else load_client_key(file).public_jwk()


def _checked(key: str, value: Any) -> Any:
    """The value as TOML has it.

    Raises:
        UsageError: there is no such key, or it does not hold such a value.
    """
    from worker.config import KEYS, read_value

    if key not in KEYS:
        raise UsageError(f"{key}: unknown key", hint="`pts-worker config show` lists all keys")
    try:
        return read_value(key, value)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None


def _ask(key: str, question: str, default: str) -> str:
    """A valid answer from the terminal. The question goes to standard error."""

    def valid(answer: str) -> str:
        answer = answer.strip()
        if answer:
            try:
                _checked(key, answer)
            except UsageError as error:
                raise click.BadParameter(error.message) from None
        return answer

    answer: str = click.prompt(question, default=default, value_proc=valid, err=True)
    return answer


def _print(out: Path, values: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    call = f"pts-worker --config {shlex.quote(str(out))}"
    print(f"{out.absolute()} written; it describes every key.")
    for file in document["made"]:
        print(f"{file} made; nobody else can read it.")
    print("Keep a copy of the pseudonym key in a safe place, apart from the database's backup.")
    print()
    print(f"At {_SELF_SERVICE.get(values['api.environment'], _TEST_SELF_SERVICE)}:")
    print("  1. Make a client for machine-to-machine use (client_credentials), with DPoP.")
    print(f"  2. Choose the scope {values.get('helseid.scope', _SCOPE)}.")
    print("  3. Choose private_key_jwt with a key of your own, and give it this public key:")
    key = document["public_jwk"]
    print("     that of `pts-worker keys public`" if key is None else f"\n{json_text(key)}")
    if "helseid.client_id" not in values:
        print(f"  4. Write the client id into {out} as helseid.client_id.")
    print("Then, after a minute:")
    for step in ("db upgrade", "config check", "doctor"):
        print(f"  {call} {step}")
