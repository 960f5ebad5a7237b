"""Configuration from flags, environment, TOML file and defaults. Reports all problems at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from worker.config import sources
from worker.config.needs import Purpose, database_url, required, unmet
from worker.config.settings import KEYS, SECTIONS, Settings, message_of, read_value, text_of
from worker.config.sources import CONFIG_VARIABLE, Source, variable_of
from worker.core.display import counted
from worker.errors import ConfigurationError, FlagError
from worker.files import is_missing

__all__ = [
    "KEYS",
    "Loaded",
    "Purpose",
    "Settings",
    "database_url",
    "load",
    "needs",
    "read_value",
    "required",
    "text_of",
    "variable_of",
]

_DEFAULT_FILE: Final = Path("config/worker.toml")
_OTHER_FILE: Final = "name another with --config or PTS_CONFIG, or write one with `pts-worker init`"
_HINT: Final = f"docs/reference/configuration.md says what each key may hold; {_OTHER_FILE}"
_NO_FILE: Final = f"no configuration file was read: there is no {{}}; {_OTHER_FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration.

    Attributes:
        origins: where each value came from, by key name: ``default``, a file, a variable, a flag.
        config_file: the file that was read, if one was.
        hint: what helps against what is wrong with it.
    """

    settings: Settings
    origins: Mapping[str, str]
    config_file: Path | None
    hint: str


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    config_path: Path | None = None,
    flag_names: Mapping[str, str] | None = None,
    purpose: Purpose | None = None,
) -> Loaded:
    """Read the configuration: flags, then environment, then file, then defaults.

    Args:
        flags: values by key name; None for a flag that was not given.
        cwd: where relative paths start; those in the file start at its folder.
        config_path: the file to read; else ``PTS_CONFIG`` names it, else ``config/worker.toml``
            is read if it exists.
        flag_names: the flags' spelling, by key name, for messages.
        purpose: also check what this purpose needs, so that everything is reported at once.

    Raises:
        ConfigurationError: with every fault in ``problems``, each naming key and origin, none a
            value. A ``FlagError`` if the command line has one of them.
    """
    chosen = config_path or environ.get(CONFIG_VARIABLE)
    config_file = cwd / (chosen or _DEFAULT_FILE)
    problems, in_file = list[str](), list[str]()
    by_flags = sources.flags(flags or {}, flag_names or {}, cwd)
    by_environment = sources.environment(environ, cwd, problems)
    has_file = bool(chosen) or not is_missing(config_file)
    by_file = sources.file(config_file, in_file) if has_file else {}
    given = sources.merged((by_flags, by_environment, by_file))
    settings, faults = _validated(given)
    loaded = Loaded(
        settings=settings,
        origins={name: given[name].origin if name in given else "default" for name in KEYS},
        config_file=config_file if has_file else None,
        hint=_HINT if has_file else _NO_FILE.format(config_file),
    )
    problems += [*in_file, *faults.values()]
    if not in_file:  # what the file sets would seem to be missing
        problems += _contradictions(given)
        unknown = {*faults, *map(_meant, faults)}
        problems += () if purpose is None else _unmet(loaded, purpose, unknown)
    is_flag = not faults.keys().isdisjoint(by_flags)
    _require_none(problems, loaded, FlagError if is_flag else ConfigurationError)
    return loaded


def needs(loaded: Loaded, purpose: Purpose) -> None:
    """Check that everything is set and readable that a purpose needs.

    Raises:
        ConfigurationError: with all that is missing in ``problems``, and what to do for each.
    """
    _require_none([*_unmet(loaded, purpose, set())], loaded, ConfigurationError)


def _validated(given: Source) -> tuple[Settings, dict[str, str]]:
    """The settings without what is faulty, and the faults by key or section."""
    details: dict[str, Any] = {}
    try:
        settings = Settings(**sources.tables(given))
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False):
            details.setdefault(".".join(map(str, detail["loc"][:2])), detail)
        good = {name: one for name, one in given.items() if not details.keys() & _parts(name)}
        settings = Settings(**sources.tables(good))
    return settings, {name: _fault(name, detail, given) for name, detail in details.items()}


def _parts(name: str) -> set[str]:
    """A key and its section."""
    return {name, name.partition(".")[0]}


def _fault(name: str, detail: Mapping[str, Any], given: Source) -> str:
    origin = next(one.origin for key, one in given.items() if name in _parts(key))
    text = message_of(detail) if "." in name else f"must be a section, [{name}]"
    if detail["type"] == "extra_forbidden":
        meant = _meant(name)
        text = f"unknown; did you mean {meant}?" if meant else "unknown"
    return f"{name} ({origin}): {text}"


def _meant(name: str) -> str:
    """The key that has the same name in another section, or is most similar; or the section."""
    _, dot, key = name.partition(".")
    same = [one for one in KEYS if one.endswith(f".{key}")]
    similar = get_close_matches(name, KEYS if dot else SECTIONS, n=1, cutoff=0.75)
    return next(iter([*same, *similar]), "")


def _contradictions(given: Source) -> Iterator[str]:
    """Faults that only two keys together make, or a key and where it stands."""
    origins = {name: one.origin for name, one in given.items()}
    if "roster.path" in origins and "roster.url" in origins:
        path, url = origins["roster.path"], origins["roster.url"]
        yield f"roster.path ({path}) and roster.url ({url}) are both set; set one"
    if ("roster.url" in origins) != ("roster.query" in origins):
        yield "roster.url and roster.query: one of them is set; the other is missing"
    origin = origins.get("telemetry.ping_url", "")
    if origin.startswith(("flag", "command line")):
        yield (
            f"telemetry.ping_url ({origin}): every process of the machine can read it there; set "
            "it in the file or in PTS_TELEMETRY__PING_URL"
        )


def _unmet(loaded: Loaded, purpose: Purpose, unknown: set[str]) -> Iterator[str]:
    """What a purpose lacks, besides keys and sections whose value is unknown."""
    if "api.environment" in unknown:
        unknown = unknown | {"helseid.issuer", "api.base_url"}
    known = {name: loaded.settings.value(name) for name in KEYS if not unknown & _parts(name)}
    return unmet(known, purpose)


def _require_none(problems: Sequence[str], loaded: Loaded, kind: type[ConfigurationError]) -> None:
    """Raise the one error for all problems, if there are any."""
    if problems:
        faults = counted(len(problems), "fault")
        message = "\n  - ".join([f"the configuration has {faults}:", *problems])
        raise kind(message, problems=problems, hint=loaded.hint)
