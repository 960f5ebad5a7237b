"""``init``: write a configuration file."""

import shlex
import sys
from pathlib import Path
from typing import Any, Final

import click

from worker.cli import options
from worker.cli.base import Cli
from worker.config.urls import has_password
from worker.errors import ConfigurationError, UsageError, reason_of

_ASKED: Final = {
    "api.environment": ("PTS environment (test, test-internet, production)", "test"),
    "helseid.client_id": ("Client id from HelseID self-service (empty: later)", ""),
    "helseid.private_jwk_file": ("File of the client's private key", "helseid.jwk.json"),
    "roster.path": ("Roster file", "roster.csv"),
    "database.url": ("Database", "sqlite:///pts.db"),
    "privacy.pseudonym_key_file": ("File of the pseudonym key", "pseudonym.key"),
}


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
def command(cli: Cli, *, out: Path, group_readable: bool) -> None:
    """Write a configuration file that describes every key, and ask for what is needed.

    On a terminal it asks for environment, client, key files, roster and database; Enter takes the
    value in brackets. What `--set` gives is not asked for. Without a terminal the rest has the same
    defaults, and helseid.client_id stays to be set.

    The file is new: an existing one is never overwritten. Its owner alone can read it (mode 0600),
    with `--group-readable` its group as well (0640). Relative paths in it start at its folder.

    `--json`: file, keys (those that are set).

    Example: `pts-worker init --out /etc/pts-worker/worker.toml`
    """
    from worker.config import new_toml
    from worker.files import private_mode, write_new

    cli.refuse_secrets()
    if out.exists():
        raise _exists(out)
    values = {key: _checked(key, value) for key, value in cli.flags.items()}
    for key, (question, default) in _ASKED.items():
        if key in values or (key == "roster.path" and "roster.url" in values):
            continue
        value = _ask(key, question, default) if sys.stdin.isatty() else default
        if value:
            values[key] = value
    content = new_toml(values).encode()
    try:
        write_new(out, content, mode=private_mode(is_group_readable=group_readable))
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {out.absolute()}: {reason_of(error)}",
            hint="make the folder, or name another file with --out",
        ) from None
    cli.emit({"file": str(out.absolute()), "keys": sorted(values)}, lambda: _print(out, values))


def _exists(out: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{out.absolute()} already exists",
        hint="it is not overwritten: choose another name with --out",
    )


def _checked(key: str, value: Any) -> Any:
    """The value as TOML has it.

    Raises:
        UsageError: there is no such key, or it does not hold such a value.
    """
    from worker.config import KEYS

    if key not in KEYS:
        raise UsageError(f"{key}: unknown key", hint="`pts-worker config show` lists all keys")
    try:
        return KEYS[key].kind.read(value)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None


def _ask(key: str, question: str, default: str) -> str:
    """A valid answer from the terminal. The question goes to standard error."""

    def valid(answer: str) -> str:
        answer = answer.strip()
        if has_password(answer):
            raise click.BadParameter("write it without the password, for database.password_file")
        if answer:
            try:
                _checked(key, answer)
            except UsageError as error:
                raise click.BadParameter(error.message) from None
        return answer

    answer: str = click.prompt(question, default=default, value_proc=valid, err=True)
    return answer


def _print(out: Path, values: dict[str, Any]) -> None:
    call, folder = f"pts-worker --config {shlex.quote(str(out))}", out.parent
    keys = {
        "new": _missing(folder, values.get("helseid.private_jwk_file")),
        "pseudonym": _missing(folder, values.get("privacy.pseudonym_key_file")),
    }
    print(f"{out.absolute()} written; it describes every key. Next:")
    if "helseid.client_id" not in values:
        print("  set helseid.client_id, from HelseID self-service")
    for name, when in (("new", "if you have no client key"), ("pseudonym", "for a new database")):
        if missing := keys[name]:
            print(f"  pts-worker keys {name} --out {missing}    ({when})")
    print(f"  {call} db upgrade")
    print(f"  {call} config check")
    print(f"  {call} doctor")


def _missing(folder: Path, name: str | None) -> str:
    """The word for a file that is still to be made; empty if there is one."""
    from worker.files import is_missing

    if name is None:
        return "FILE"
    return shlex.quote(str(folder / name)) if is_missing(folder / name) else ""
