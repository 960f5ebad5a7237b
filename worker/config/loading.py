"""From flags, environment and file to settings: ``load``, and every fault at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from worker.areas import area_named
from worker.config.keys import AREA_KEYS, CONFIG_VARIABLE, KEYS
from worker.config.layers import (
    DEFAULT_FILE,
    Layer,
    from_environment,
    from_file,
    from_flags,
    nested,
)
from worker.config.needs import Purpose, unmet
from worker.config.settings import AreaOverride, Settings
from worker.config.urls import has_password
from worker.core.overrides import with_overrides
from worker.errors import ConfigurationError

_HELSEID_TEST: Final = {
    "helseid.issuer": "https://helseid-sts.test.nhn.no",
    "helseid.self_service_url": "https://api.selvbetjening.test.nhn.no",
}
ENVIRONMENTS: Final = {
    "test": {"api.base_url": "https://api.test.pts.nhn.no", **_HELSEID_TEST},
    "test-internet": {"api.base_url": "https://api-internett.test.pts.nhn.no", **_HELSEID_TEST},
    "production": {
        "api.base_url": "https://api.pts.nhn.no",
        "helseid.issuer": "https://helseid-sts.nhn.no",
        "helseid.self_service_url": "https://api.selvbetjening.nhn.no",
    },
}
"""The addresses of PTS and HelseID, by ``api.environment`` (HelseID reference, section 8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration.

    Attributes:
        settings: the values.
        origins: where each value came from, by key name: ``default``, a file, a variable, a flag.
        cwd: the directory that relative paths start from.
        config_file: the file that was read, if one was.
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
        environ: the environment variables.
        cwd: where relative paths start, in the file too.
        config_path: the file to read; else ``PTS_CONFIG`` names it, else ``config/worker.toml``
            is read if it exists.
        flag_names: the flags' spelling, by key name, for messages (``--concurrency``).
        purpose: also check what this purpose needs, so that everything is told at once.

    Raises:
        ConfigurationError: with every fault in ``problems``, each naming key and origin; never a
            secret value.
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
    problems += _contradictions(values, origins)
    settings, faulty = _validated(values)
    problems += (_line(fault, origins) for fault in faulty)
    problems += _misfits(values, origins, {_name(fault) for fault in faulty})
    if purpose is not None:
        known = _effective(values, settings, {_name(fault) for fault in faulty})
        problems += unmet(known, Purpose(purpose), cwd=cwd)
    if problems or settings is None:
        raise configuration_error(problems)
    all_origins = {name: origins.get(name, "default") for name in KEYS}
    all_origins |= {name: origin for name, origin in origins.items() if name in AREA_KEYS}
    return Loaded(settings=settings, origins=all_origins, cwd=cwd, config_file=file_name)


def needs(loaded: Loaded, purpose: Purpose | str) -> None:
    """Check that everything is set and readable that a purpose needs.

    Raises:
        ConfigurationError: with all that is missing in ``problems``, and what to do for each.
    """
    known = _effective({}, loaded.settings, set())
    problems = list(unmet(known, Purpose(purpose), cwd=loaded.cwd))
    if problems:
        raise configuration_error(problems)


def configuration_error(problems: Sequence[str]) -> ConfigurationError:
    """The one error for all faults of a configuration."""
    count = len(problems)
    message = f"the configuration has {count} {'fault' if count == 1 else 'faults'}"
    return ConfigurationError(
        "\n  - ".join([f"{message}:", *problems]),
        problems=problems,
        hint="`pts-worker config schema` tells what each key may hold",
    )


def _file_layer(
    environ: Mapping[str, str], cwd: Path, config_path: Path | None
) -> tuple[Path | None, Layer]:
    chosen = config_path
    if chosen is None and environ.get(CONFIG_VARIABLE):
        chosen = Path(environ[CONFIG_VARIABLE])
    if chosen is None:
        if not (cwd / DEFAULT_FILE).exists():
            return None, Layer()
        chosen = DEFAULT_FILE
    return chosen, from_file(cwd / chosen, shown=str(chosen))


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
        if key != "helseid.self_service_url" or "helseid.issuer" not in values:
            layer.put(key, address, "api.environment")  # self-service goes with its issuer
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
    for one, other in (("roster.url", "roster.query"), ("roster.query", "roster.url")):
        if one in values and other not in values:
            problems.append(f"{other}: is missing; {one} ({origins[one]}) cannot do without it")
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


def _misfits(
    values: Mapping[str, Any], origins: Mapping[str, str], faulty: set[str]
) -> Iterator[str]:
    """Try each override on its area, so that a fault shows before the first request."""
    for name in sorted(AREA_KEYS.keys() & values.keys() - faulty):
        _, area, key = name.split(".")
        override = AreaOverride.model_validate({key: values[name]})
        try:
            with_overrides(area_named(area), {key: getattr(override, key)})
        except ValueError as error:
            place, _, problem = str(error).partition(": ")
            yield f"areas.{area}.{place} ({origins[name]}): {problem}"


def _validated(values: Mapping[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
    try:
        return Settings.model_validate(nested(values)), []
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        inner = {_name(fault) for fault in faults if fault["type"] != "too_short"}
        return None, [f for f in faults if f["type"] != "too_short" or _name(f) not in inner]


def _name(fault: ErrorDetails) -> str:
    location = [str(part) for part in fault["loc"]]
    return ".".join(location[: 3 if location[0] == "areas" else 2])


def _line(fault: ErrorDetails, origins: Mapping[str, str]) -> str:
    name = _name(fault)
    inner = [str(part) for part in fault["loc"]][len(name.split(".")) :]
    place = f"{name}[{inner[0]}]" if inner and inner[0].isdigit() else name
    return f"{place} ({origins.get(name, 'default')}): {_sentence(fault)}"


def _sentence(fault: ErrorDetails) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_type":
        return "must be text, in quotes"
    for start in ("Input should be ", "String should ", "Tuple should ", "List should "):
        if message.startswith(start):
            return (
                f"must be {message[len(start) :]}"
                if start[0] == "I"
                else f"must {message[len(start) :]}"
            )
    return message[:1].lower() + message[1:]


def _effective(
    values: Mapping[str, Any], settings: Settings | None, faulty: set[str]
) -> dict[str, Any]:
    """The value of every key, as far as known; keys with a fault of their own are left out."""
    known = {}
    for name, key in KEYS.items():
        if name in faulty:
            continue
        section, _, word = name.partition(".")
        value = getattr(getattr(settings, section), word) if settings else None
        if settings is None:
            value = values.get(name, key.default)
        known[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return known
