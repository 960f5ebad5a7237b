"""Configuration from flags, environment, TOML file and defaults. Reports all problems at once."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker.config import sources
from worker.config.needs import Purpose, unmet
from worker.config.settings import KEYS, SECTIONS, Settings, meant_by, read_value
from worker.config.sources import CONFIG_VARIABLE, Source
from worker.core.display import counted
from worker.errors import ConfigurationError, FlagError
from worker.files import is_missing

_HINT: Final = "see docs/reference/configuration.md for the values of each key"
_NO_FILE: Final = "set the file (--config or PTS_CONFIG), or create one with `pts-worker init`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration.

    Attributes:
        origins: the origin of each value, by key name: ``default``, a file, a variable or a flag.
        config_file: the file that was read, if any.
        hint: the remedy for errors in the configuration.
        missing: the message that no configuration file exists, with its path. Empty if one exists.
    """

    settings: Settings
    origins: Mapping[str, str]
    config_file: Path | None
    hint: str
    missing: str = ""

    def raise_if_any(self, problems: Sequence[str], kind: type[ConfigurationError]) -> None:
        """Raise one error with all problems, if there are any."""
        if problems:
            message = f"the configuration has {counted(len(problems), 'error')}:"
            message = "; ".join(filter(None, (self.missing, message)))
            raise kind(message, problems=problems, hint=self.hint)


def load(
    flags: Mapping[str, tuple[object, str]] | None = None,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    config_path: Path | None = None,
    purpose: Purpose | None = None,
) -> Loaded:
    """Read the configuration: flags, then environment, then file, then defaults.

    Args:
        flags: values by key name, each with the flag's spelling for messages.
        cwd: relative paths are resolved against it, those in the file against its folder.
        config_path: the file to read. Default: ``PTS_CONFIG``, else ``config/worker.toml`` if it
            exists.
        purpose: also check the keys and files that this purpose needs, to report all errors at
            once.

    Raises:
        ConfigurationError: with all errors in ``problems``, each with key and origin, never with
            the value. A ``FlagError`` if an error is on the command line.
    """
    requested = config_path or environ.get(CONFIG_VARIABLE)
    config_file = cwd / (requested or "config/worker.toml")
    has_file = bool(requested) or not is_missing(config_file)
    by_flags, by_file, unread = sources.flags(flags or {}, cwd), Source(), list[str]()
    try:
        by_file |= sources.file(config_file) if has_file else {}
    except ConfigurationError as error:
        origin = "--config" if config_path else CONFIG_VARIABLE
        is_gone = bool(requested) and is_missing(config_file)
        if is_gone:
            unread.append(f"there is no configuration file {config_file} (from {origin})")
        else:
            unread.append(error.advice)
    # A file that cannot be read is one error among others: flags and variables are still checked.
    values = sources.merged((by_flags, sources.environment(environ, cwd), by_file))
    settings, errors = _read(values)
    loaded = Loaded(
        settings=settings,
        origins={name: values[name].origin if name in values else "default" for name in KEYS},
        config_file=config_file if has_file else None,
        hint=_NO_FILE if is_missing(config_file) else _HINT,
        missing="" if has_file else _missing(config_file, environ),
    )
    problems = [*unread, *dict.fromkeys(errors.values())]
    # Without the file, each of its keys would be reported as missing.
    if not unread:
        problems += _contradictions(values, by_flags)
        # A misspelled key is one error, not also a missing key.
        problems += unmet(settings, purpose, {*errors, *map(meant_by, errors)}) if purpose else ()
    is_flag = not errors.keys().isdisjoint(by_flags)
    loaded.raise_if_any(problems, FlagError if is_flag else ConfigurationError)
    return loaded


def _missing(path: Path, environ: Mapping[str, str]) -> str:
    text = f"no configuration was read: there is no file {path}, and PTS_CONFIG is not set"
    if near := sources.near_config_variable(environ):
        text += f" ({near} is: did you mean PTS_CONFIG?)"
    return text


def _read(values: Source) -> tuple[Settings, dict[str, str]]:
    """The settings without invalid values, and the errors by key."""
    tables, errors = defaultdict[str, Any](dict), dict[str, str]()
    for name, (value, origin) in values.items():
        section, _, key = name.partition(".")
        place = name if section in SECTIONS else section
        # Key by key, so that one invalid value does not hide the errors of its section.
        try:
            tables[section][key] = read_value(place, value)
        except ValueError as error:
            errors[name] = f"{place} ({origin}): {error}"
    return Settings(**tables), errors


def _contradictions(values: Source, by_flags: Source) -> Iterator[str]:
    """Errors of two keys together, or of a key and its source."""
    path, url = values.get("roster.path"), values.get("roster.url")
    if path and url:
        yield f"roster.path ({path.origin}) and roster.url ({url.origin}) are both set; set one"
    if bool(url) != ("roster.query" in values):
        yield "roster.url and roster.query: one of them is set; the other is missing"
    if ping := by_flags.get("telemetry.ping_url"):
        yield (
            f"telemetry.ping_url ({ping.origin}): other processes can read the command line; set "
            "this secret in the file or in PTS_TELEMETRY__PING_URL"
        )
