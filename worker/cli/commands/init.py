"""``init``: write a configuration file, and make its keys."""

import secrets
import shlex
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from worker.cli import options
from worker.cli.output import json_text
from worker.files import convert_write_errors, is_missing, write_new

_CLIENT_KEY: Final = "helseid.private_jwk_file"
_KEY_FILES: Final = {_CLIENT_KEY: "helseid.jwk.json", "privacy.pseudonym_key_file": "pseudonym.key"}
_DEFAULTS: Final = {**_KEY_FILES, "database.url": "sqlite:///pts.db"}
_QUESTION: Final = "PTS over the internet (test-internet) or over Helsenett (test, production)"
_HEAD: Final = """\
# Configuration of pts-worker. A line that starts with "#" has the default of a key, or an example.
# Remove the "#" to set it. Flags and the environment (PTS_<SECTION>__<KEY>) override this file.
# Relative paths are resolved against its folder. Durations are 30s, 15m, 12h, 1d or 1h30m.
# `pts-worker config show` shows each value and its origin, `pts-worker config check` all errors.
#
# Every installation sets these six keys. Each is at the top of its section:"""


@click.command("init", cls=options.Command)
@click.option(
    "--out", type=options.path, default="worker.toml", show_default=True, help="The new file."
)
@click.pass_obj
def command(cli: options.Cli, *, out: Path) -> None:
    """Write a configuration file that describes every key, and make the two key files beside it.

    On a terminal it asks for the environment of PTS, unless you give it with `--set`. Press Enter
    for the value in brackets. The output ends with the client's public key, and the steps to
    register it in HelseID's self-service. An existing configuration is never overwritten, and
    existing keys are used. With `--set api.base_url=URL`, also give `--set
    helseid.issuer=URL`: then the file has no environment.

    Example: `pts-worker init --out worker.toml`
    """
    from worker.helseid.keys import load_client_key

    with convert_write_errors(out):
        if out.exists():  # before the prompt. ``write_new`` checks again
            raise FileExistsError
    values = _DEFAULTS | {key: _checked(key, value) for key, (value, _) in cli.flags.items()}
    if values.keys().isdisjoint({"api.environment", "api.base_url"}):
        values["api.environment"] = _environment()
    if "roster.url" not in values:
        values.setdefault("roster.path", "roster.csv")
    created = _make_keys(out.parent, cli.flags)
    key_file = out.parent / values[_CLIENT_KEY]
    jwk = None if is_missing(key_file) else load_client_key(key_file).public_jwk()
    with convert_write_errors(out):
        write_new(out, settings_toml(values).encode())
    document = {"file": str(out.absolute()), "made": created, "public_jwk": jwk}
    cli.emit(document, lambda: _print(out, values, document))


def settings_toml(values: Mapping[str, Any]) -> str:
    """Return a configuration file that sets these keys and describes all others."""
    from worker.cli.toml_text import toml_line
    from worker.config.settings import EVERYDAY, SECTIONS

    lines = [_HEAD, *(f"#   {name}" for name in EVERYDAY)]
    for section, model in SECTIONS.items():
        lines += ["", _comment(str(model.__doc__)), f"[{section}]"]
        for name, key in model.model_fields.items():
            value = values.get(f"{section}.{name}")
            candidates = (value, key.default, *(key.examples or ()))
            first = next(candidate for candidate in candidates if candidate is not None)
            hint = " Example:" if value is None and key.default is None else ""
            prefix = "#" if value is None else ""
            lines += ["", _comment(f"{key.description}{hint}"), prefix + toml_line(name, first)]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return textwrap.indent(textwrap.fill(text, 96, break_on_hyphens=False), "# ")


def _make_keys(folder: Path, flags: Mapping[str, Any]) -> list[str]:
    """Make the missing key files, except those set by a flag. Return their paths."""
    from worker.helseid.keys import new_client_key

    files = {key: folder / name for key, name in _KEY_FILES.items() if key not in flags}
    # Never overwrite a key: with a new pseudonym key, no stored row matches its person.
    missing = {key: file for key, file in files.items() if is_missing(file)}
    for key, file in missing.items():
        content = new_client_key().document() if key == _CLIENT_KEY else secrets.token_bytes(32)
        with convert_write_errors(file):
            write_new(file, content)
    return [str(file.absolute()) for file in missing.values()]


def _checked(key: str, value: Any) -> Any:
    """Return the value for the TOML file. A wrong value is a usage error."""
    from pydantic import Secret

    from worker.config.settings import read_value

    try:
        read = read_value(key, value)
        return read.get_secret_value() if isinstance(read, Secret) else read
    except ValueError as error:
        raise click.BadParameter(f"{key}: {error}") from None


def _environment() -> str:
    """Prompt for the environment of PTS. Without a terminal it is the test environment."""
    from worker.core.hosts import ENVIRONMENTS

    if not sys.stdin.isatty():
        return "test-internet"
    answers = click.Choice([*ENVIRONMENTS])
    # On standard error, because standard output may be a JSON document.
    answer = click.prompt(_QUESTION, "test-internet", type=answers, show_choices=False, err=True)
    return str(answer)


def _print(out: Path, values: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    from worker.core.hosts import ENVIRONMENTS

    call = f"pts-worker --config {shlex.quote(str(out))}"
    # Without an environment, the issuer is among the values.
    environment = values.get("api.environment")
    issuer = (ENVIRONMENTS[environment] if environment else values).get("helseid.issuer")
    test = "test." if issuer == ENVIRONMENTS["test"]["helseid.issuer"] else ""
    print(f"{out.absolute()} written; it describes every key.")
    for file in document["made"]:
        print(f"{file} created; only you can read it.")
    print("Keep a copy of the pseudonym key in a safe place, apart from the database's backup.")
    print(f"\nAt https://selvbetjening.{test}nhn.no:")
    print("  1. Create a client for machine-to-machine use (client_credentials), with DPoP.")
    print(f"  2. Choose the scope {values.get('helseid.scope', 'nhn:pts/api')}.")
    print("  3. Choose private_key_jwt with a key of your own, and give it this public key:")
    key = document["public_jwk"]
    print("     see `pts-worker keys public`" if key is None else f"\n{json_text(key)}")
    if "helseid.client_id" not in values:
        print(f"  4. Write the client id into {out} as helseid.client_id.")
    print(f"\n{out} names your roster (roster.path) and database (database.url).")
    print("Then, after a minute:")
    for step in ("db upgrade", "config check", "doctor"):
        print(f"  {call} {step}")
