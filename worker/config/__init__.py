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

_HINT: Final = "docs/reference/configuration.md says what each key may hold"
_NO_FILE: Final = "name the configuration (--config or PTS_CONFIG), or make one: `pts-worker init`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration.

    Attributes:
        origins: where each value came from, by key name: ``default``, a file, a variable, a flag.
        config_file: the file that was read, if one was.
        hint: what helps against what is wrong with it.
        missing: that no configuration file was read, and where it was looked for; empty if one was.
    """

    settings: Settings
    origins: Mapping[str, str]
    config_file: Path | None
    hint: str
    missing: str = ""

    def require_none(self, problems: Sequence[str], kind: type[ConfigurationError]) -> None:
        """Raise the one error for all problems, if there are any."""
        if problems:
            message = f"the configuration has {counted(len(problems), 'fault')}:"
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
        cwd: where relative paths start; those in the file start at its folder.
        config_path: the file to read; else ``PTS_CONFIG`` names it, else ``config/worker.toml``
            is read if it exists.
        purpose: also check what this purpose needs, so that everything is reported at once.

    Raises:
        ConfigurationError: with every fault in ``problems``, each naming key and origin, none a
            value. A ``FlagError`` if the command line has one of them.
    """
    chosen = config_path or environ.get(CONFIG_VARIABLE)
    config_file = cwd / (chosen or "config/worker.toml")
    has_file = bool(chosen) or not is_missing(config_file)
    by_flags, by_file, unread = sources.flags(flags or {}, cwd), Source(), list[str]()
    try:
        by_file |= sources.file(config_file) if has_file else {}
    except ConfigurationError as error:
        named = "--config" if config_path else CONFIG_VARIABLE
        is_gone = bool(chosen) and is_missing(config_file)
        gone = f"there is no configuration file {config_file} (named by {named})"
        unread.append(gone if is_gone else error.advice)
    given = sources.merged((by_flags, sources.environment(environ, cwd), by_file))
    settings, faults = _read(given)
    loaded = Loaded(
        settings=settings,
        origins={name: given[name].origin if name in given else "default" for name in KEYS},
        config_file=config_file if has_file else None,
        hint=_NO_FILE if is_missing(config_file) else _HINT,
        missing="" if has_file else _missing(config_file, environ),
    )
    problems = [*unread, *dict.fromkeys(faults.values())]
    if not unread:  # what the file sets would seem to be missing
        problems += _contradictions(given, by_flags)
        problems += unmet(settings, purpose, {*faults, *map(meant_by, faults)}) if purpose else ()
    is_flag = not faults.keys().isdisjoint(by_flags)
    loaded.require_none(problems, FlagError if is_flag else ConfigurationError)
    return loaded


def _missing(path: Path, environ: Mapping[str, str]) -> str:
    text = f"no configuration was read: there is no file {path}, and PTS_CONFIG is not set"
    if near := sources.near_config_variable(environ):
        text += f" ({near} is: did you mean PTS_CONFIG?)"
    return text


def _read(given: Source) -> tuple[Settings, dict[str, str]]:
    """The settings without what is faulty, and the faults by key."""
    tables, faults = defaultdict[str, Any](dict), dict[str, str]()
    for name, (value, origin) in given.items():
        section, _, key = name.partition(".")
        place = name if section in SECTIONS else section
        try:
            tables[section][key] = read_value(place, value)
        except ValueError as error:
            faults[name] = f"{place} ({origin}): {error}"
    return Settings(**tables), faults


def _contradictions(given: Source, by_flags: Source) -> Iterator[str]:
    """Faults that only two keys together make, or a key and where it stands."""
    path, url = given.get("roster.path"), given.get("roster.url")
    if path and url:
        yield f"roster.path ({path.origin}) and roster.url ({url.origin}) are both set; set one"
    if bool(url) != ("roster.query" in given):
        yield "roster.url and roster.query: one of them is set; the other is missing"
    if ping := by_flags.get("telemetry.ping_url"):
        yield (
            f"telemetry.ping_url ({ping.origin}): every process of the machine can read it there; "
            "set it in the file or in PTS_TELEMETRY__PING_URL"
        )
