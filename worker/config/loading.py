"""From flags, environment and file to settings: ``load``, and every fault at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from worker.config import sources
from worker.config.keys import CONFIG_VARIABLE, KEYS, SECTIONS, message_of
from worker.config.needs import Purpose, unmet
from worker.config.settings import Settings
from worker.config.sources import Source
from worker.errors import ConfigurationError, FlagError
from worker.files import is_missing

DEFAULT_FILE: Final = Path("config/worker.toml")
_OTHER_FILE: Final = "name another with --config or PTS_CONFIG, or write one with `pts-worker init`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration.

    Attributes:
        origins: where each value came from, by key name: ``default``, a file, a variable, a flag.
        cwd: the directory that relative paths of flags, environment and defaults start from; those
            in ``settings`` are absolute, but for a default.
        config_file: the file that was read, if one was; its path starts at ``cwd``.
    """

    settings: Settings
    origins: Mapping[str, str]
    cwd: Path
    config_file: Path | None = None


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    config_path: Path | None = None,
    flag_names: Mapping[str, str] | None = None,
    purpose: Purpose | str | None = None,
) -> Loaded:
    """Read the configuration: flags, then environment, then file, then defaults.

    Args:
        flags: values by key name (``sync.concurrency``); None for a flag that was not given.
        cwd: where relative paths start; those in the file start at its folder.
        config_path: the file to read; else ``PTS_CONFIG`` names it, else ``config/worker.toml``
            is read if it exists.
        flag_names: the flags' spelling, by key name, for messages (``--concurrency``).
        purpose: also check what this purpose needs, so that everything is reported at once.

    Raises:
        ConfigurationError: with every fault in ``problems``, each naming key and origin, none a
            value. A ``FlagError`` if the command line has one of them.
    """
    config_file = _chosen_file(environ, cwd, config_path)
    problems, in_file = list[str](), list[str]()
    by_flags = sources.flags(flags or {}, flag_names or {}, cwd)
    by_environment = sources.environment(environ, cwd, problems)
    by_file = {} if config_file is None else sources.file(config_file, in_file)
    given = sources.merged((by_flags, by_environment, by_file))
    settings, faults = _validated(given)
    loaded = Loaded(
        settings=settings,
        origins={name: given[name].origin if name in given else "default" for name in KEYS},
        cwd=cwd,
        config_file=config_file,
    )
    problems += [*in_file, *faults.values()]
    if not in_file:  # what the file sets would seem to be missing
        problems += _contradictions(given)
        unknown = {*faults, *map(_meant, faults)}
        problems += () if purpose is None else _unmet(loaded, purpose, unknown)
    if problems:
        is_flag = not faults.keys().isdisjoint(by_flags)
        raise _error(problems, loaded, kind=FlagError if is_flag else ConfigurationError)
    return loaded


def needs(loaded: Loaded, purpose: Purpose | str) -> None:
    """Check that everything is set and readable that a purpose needs.

    Raises:
        ConfigurationError: with all that is missing in ``problems``, and what to do for each.
    """
    if problems := list(_unmet(loaded, purpose, set())):
        raise _error(problems, loaded, kind=ConfigurationError)


def _chosen_file(environ: Mapping[str, str], cwd: Path, config_path: Path | None) -> Path | None:
    chosen = config_path or environ.get(CONFIG_VARIABLE)
    if not chosen and is_missing(cwd / DEFAULT_FILE):
        return None
    return cwd / (chosen or DEFAULT_FILE)


def _validated(given: Source) -> tuple[Settings, dict[str, str]]:
    """The settings without what is faulty, and the faults by key or section."""
    details: dict[str, Any] = {}
    try:
        settings = _settings(given)
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_url=False):
            details.setdefault(".".join(map(str, detail["loc"][:2])), detail)
        settings = _settings({key: given[key] for key in given if not details.keys() & _parts(key)})
    unknown = [name for name in sources.tables(given) if name not in SECTIONS]
    details |= {name: {"type": "extra_forbidden"} for name in unknown}
    return settings, {name: _fault(name, detail, given) for name, detail in details.items()}


def _settings(given: Source) -> Settings:
    known = {name: table for name, table in sources.tables(given).items() if name in SECTIONS}
    return Settings(**known)


def _parts(name: str) -> set[str]:
    """A key and its section."""
    return {name, name.partition(".")[0]}


def _fault(name: str, detail: Mapping[str, Any], given: Source) -> str:
    origin = next(one.origin for key, one in given.items() if name in _parts(key))
    is_section = "." not in name
    if detail["type"] != "extra_forbidden":
        text = f"must be a section, [{name}]" if is_section else message_of(detail)
        return f"{name} ({origin}): {text}"
    meant, shown = _meant(name), "[{}]" if is_section else "{}"
    hint = f"; did you mean {shown.format(meant)}?" if meant else ""
    what = "section" if is_section else "key"
    return f"{shown.format(name)} ({origin}): unknown {what}{hint}"


def _meant(name: str) -> str:
    """The key that is most similar, or has the same name in another section; or the section."""
    section, dot, key = name.partition(".")
    siblings = {one.rpartition(".")[2]: one for one in KEYS if one.startswith(f"{section}.")}
    close = [siblings[one] for one in get_close_matches(key, siblings, n=1)]
    close += [one for one in KEYS if one.endswith(f".{key}")]
    close += get_close_matches(name, KEYS if dot else SECTIONS, n=1, cutoff=0.8 if dot else 0.6)
    return next(iter(close), "")


def _contradictions(given: Source) -> Iterator[str]:
    """Faults that only two keys together make, or a key and where it stands."""
    origins = {name: one.origin for name, one in given.items()}
    if "roster.path" in origins and "roster.url" in origins:
        path, url = origins["roster.path"], origins["roster.url"]
        yield f"roster.path ({path}) and roster.url ({url}) are both set; set one"
    for one, needed in (
        ("roster.url", "roster.query"),
        ("roster.query", "roster.url"),
        ("network.proxy_credentials_file", "network.proxy_url"),
    ):
        if one in origins and needed not in origins:
            yield f"{needed}: is missing; {one} ({origins[one]}) requires it"
    origin = origins.get("telemetry.ping_url", "")
    if origin.startswith(("flag", "command line")):
        yield (
            f"telemetry.ping_url ({origin}): every process of the machine can read it there, and "
            "ping in the worker's place; set it in the file or in PTS_TELEMETRY__PING_URL"
        )


def _unmet(loaded: Loaded, purpose: Purpose | str, unknown: set[str]) -> Iterator[str]:
    """What a purpose lacks, besides keys and sections whose value is unknown."""
    if "api.environment" in unknown:
        unknown = unknown | {"helseid.issuer", "api.base_url"}
    known = {name: loaded.settings.value(name) for name in KEYS if not unknown & _parts(name)}
    return unmet(known, Purpose(purpose))


def _error(
    problems: Sequence[str], loaded: Loaded, *, kind: type[ConfigurationError]
) -> ConfigurationError:
    """The one error for all faults."""
    faults = "1 fault" if len(problems) == 1 else f"{len(problems)} faults"
    hint = f"docs/reference/configuration.md says what each key may hold; {_OTHER_FILE}"
    if loaded.config_file is None:
        missing = loaded.cwd / DEFAULT_FILE
        hint = f"no configuration file was read: there is no {missing}; {_OTHER_FILE}"
    message = "\n  - ".join([f"the configuration has {faults}:", *problems])
    return kind(message, problems=problems, hint=hint)
