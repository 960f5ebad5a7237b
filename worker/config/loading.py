"""From flags, environment and file to settings: ``load``, and every fault at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.config.environments import ENVIRONMENTS
from worker.config.keys import CONFIG_VARIABLE, KEYS, sections
from worker.config.layers import (
    DEFAULT_FILE,
    Layer,
    from_environment,
    from_file,
    from_flags,
    nested,
)
from worker.config.needs import Purpose, unmet
from worker.config.settings import Settings
from worker.config.urls import has_password
from worker.errors import ConfigurationError, FlagError
from worker.files import is_missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration.

    Attributes:
        origins: where each value came from, by key name: ``default``, a file, a variable, a flag.
        cwd: the directory that relative paths of flags, environment and defaults start from.
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
        ConfigurationError: with every fault in ``problems``, each naming key and origin; never a
            secret value. A ``FlagError`` if the command line has one of them.
    """
    file_name, file_layer = _file_layer(environ, cwd, config_path)
    layers = [
        from_flags(flags or {}, flag_names or {}),
        from_environment(environ),
        file_layer,
    ]
    _prefer_one_roster(layers)
    layers.append(_environment_layer(layers))
    values, origins = _merged(layers)
    problems = [problem for layer in layers for problem in layer.problems]
    if not file_layer.is_unread:  # what it sets would seem to be missing
        problems += _contradictions(values, origins)
    read, faults = _read(values)
    for name in read.keys() & file_layer.values.keys():
        if file_layer.folder is not None and origins[name] == file_layer.origins[name]:
            read[name] = KEYS[name].kind.under(read[name], file_layer.folder)
    problems += (f"{name} ({origins[name]}): {fault}" for name, fault in faults.items())
    if purpose is not None and not file_layer.is_unread:
        unknown = set(faults).union(*(layer.meant for layer in layers))
        is_chosen = file_name is not None or "database.url" in values
        known = _known(read, unknown)
        problems += unmet(known, Purpose(purpose), cwd=cwd, is_database_chosen=is_chosen)
    if problems:
        is_flag = bool(layers[0].problems) or not faults.keys().isdisjoint(layers[0].values)
        raise configuration_error(
            problems, file_name, cwd, is_unread=file_layer.is_unread, is_flag=is_flag
        )
    all_origins = {name: origins.get(name, "default") for name in KEYS}
    return Loaded(settings=_settings(read), origins=all_origins, cwd=cwd, config_file=file_name)


def _known(read: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
    """The value of each key, except keys and sections whose value is unknown."""
    if "api.environment" in unknown:
        unknown = unknown | {"helseid.issuer", "api.base_url"}
    return {
        name: read.get(name, key.default)
        for name, key in KEYS.items()
        if unknown.isdisjoint({name, name.partition(".")[0]})
    }


def needs(loaded: Loaded, purpose: Purpose | str) -> None:
    """Check that everything is set and readable that a purpose needs.

    Raises:
        ConfigurationError: with all that is missing in ``problems``, and what to do for each.
    """
    known = {name: loaded.settings.value(name) for name in KEYS}
    is_chosen = loaded.config_file is not None or loaded.origins["database.url"] != "default"
    problems = list(unmet(known, Purpose(purpose), cwd=loaded.cwd, is_database_chosen=is_chosen))
    if problems:
        raise configuration_error(problems, loaded.config_file, loaded.cwd)


def configuration_error(
    problems: Sequence[str],
    config_file: Path | None,
    cwd: Path,
    *,
    is_unread: bool = False,
    is_flag: bool = False,
) -> ConfigurationError:
    """The one error for all faults of a configuration, of which a file may be none."""
    count = len(problems)
    message = f"the configuration has {count} {'fault' if count == 1 else 'faults'}"
    hint = ""
    if not all("; " in problem for problem in problems):  # what to do is not said yet
        hint = "docs/reference/configuration.md tells what each key may hold"
    if is_unread:
        hint = (
            f"correct the file, name another with --config or {CONFIG_VARIABLE}, or write one with "
            "`pts-worker init`"
        )
    elif config_file is None:
        hint = (
            f"no configuration file was read: there is no {cwd / DEFAULT_FILE}; name yours with "
            f"--config or {CONFIG_VARIABLE}, or write one with `pts-worker init`"
        )
    kind = FlagError if is_flag else ConfigurationError
    return kind("\n  - ".join([f"{message}:", *problems]), problems=problems, hint=hint)


def _file_layer(
    environ: Mapping[str, str], cwd: Path, config_path: Path | None
) -> tuple[Path | None, Layer]:
    chosen = config_path
    if chosen is None and environ.get(CONFIG_VARIABLE):
        chosen = Path(environ[CONFIG_VARIABLE])
    if chosen is None:
        if is_missing(cwd / DEFAULT_FILE):
            return None, Layer()
        chosen = DEFAULT_FILE
    chosen = cwd / chosen
    return chosen, from_file(chosen, shown=str(chosen))


def _prefer_one_roster(layers: Sequence[Layer]) -> None:
    """A roster named by a higher layer takes the place of the other kind in a lower one."""
    kinds = {"roster.path": ("roster.path",), "roster.url": ("roster.url", "roster.query")}
    for rank, layer in enumerate(layers):
        named = {kind for kind, keys in kinds.items() if any(k in layer.values for k in keys)}
        if len(named) != 1:
            if named:
                return
            continue
        for lower in layers[rank + 1 :]:
            for kind, keys in kinds.items():
                for key in keys if kind not in named else ():
                    lower.drop(key)
        return


def _environment_layer(layers: Iterable[Layer]) -> Layer:
    """The lowest layer: what ``api.environment`` stands for."""
    values, _ = _merged(layers)
    environment = values.get("api.environment")
    layer = Layer()
    addresses = (
        ENVIRONMENTS.get(environment.strip().lower()) if isinstance(environment, str) else None
    )
    for key, address in (addresses or {}).items():
        layer.put(key, address, "api.environment")
    return layer


def _merged(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        values = layer.values | values
        origins = layer.origins | origins
    return values, origins


def _contradictions(values: Mapping[str, Any], origins: Mapping[str, str]) -> list[str]:
    """Faults that only two keys together make."""
    problems = []
    if "roster.path" in values and "roster.url" in values:
        problems.append(
            f"roster.path ({origins['roster.path']}) and roster.url ({origins['roster.url']}) "
            "are both set; set one"
        )
    for given, needed in (
        ("roster.url", "roster.query"),
        ("roster.query", "roster.url"),
        ("network.proxy_credentials_file", "network.proxy_url"),
    ):
        if given in values and needed not in values:
            problems.append(f"{needed}: is missing; {given} ({origins[given]}) requires it")
    origin = origins.get("telemetry.ping_url", "")
    if origin.startswith(("flag", "command line")):
        problems.append(
            f"telemetry.ping_url ({origin}): every process of the machine can read it there, and "
            "ping in the worker's place; set it in the file or in PTS_TELEMETRY__PING_URL"
        )
    for section in ("database", "roster"):
        url, origin = values.get(f"{section}.url"), origins.get(f"{section}.url", "")
        if not isinstance(url, str) or not has_password(url):
            continue
        if f"{section}.password_file" in values:
            problems.append(
                f"{section}.url ({origin}): holds a password, and {section}.password_file "
                f"({origins[f'{section}.password_file']}) is set too; keep the file"
            )
        if origin.startswith(("flag", "command line")):
            problems.append(
                f"{section}.url ({origin}): holds a password, which every process of the machine "
                f"can read there; use {section}.password_file"
            )
    return problems


def _read(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Each value as its kind reads it; of those that cannot be read, what is wrong, by key name."""
    read, faults = {}, {}
    for name, key in KEYS.items():
        if name not in values:
            continue
        try:
            read[name] = key.kind.read(values[name])
        except ValueError as error:
            faults[name] = str(error)
    return read, faults


def _settings(read: Mapping[str, Any]) -> Settings:
    """The settings of values that are as their kinds read them."""
    tree, models = nested(read), sections()
    parts: dict[str, Any] = {name: models[name](**values) for name, values in tree.items()}
    return Settings(**parts)
