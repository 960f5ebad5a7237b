"""The machine and the versions that figures were measured on, and whether it was quiet."""

import os
import platform
import sqlite3
import sysconfig
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_LIBRARIES: Final = (
    "aiohttp", "uvloop", "httptools", "cryptography", "orjson", "anyio",
    "sqlalchemy", "aiosqlite", "asyncpg",
)  # fmt: skip
_BUSY_SHARE_MAX: Final = 0.05
_LOOK_S: Final = 1.0


def cores() -> tuple[int, ...]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def describe() -> list[str]:
    """Processor, system, Python and libraries, a line each."""
    is_optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    hardware = f"{_model()}, {len(cores())} of {os.cpu_count()} cores, {_memory_gib():.0f} GiB"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    build = "optimised build" if is_optimised else "not an optimised build"
    return [
        f"{hardware}, {platform.system()} {platform.release()}",
        f"{python} ({build}), SQLite {sqlite3.sqlite_version}",
        ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES),
    ]


def quietness() -> tuple[str, bool]:
    """Load average and what is busy now, in words; and whether that is quiet enough."""
    load = os.getloadavg()[0]
    busy = busy_share()
    words = f"load average {load:.2f} over the last minute, {busy:.0%} of all cores busy now"
    return words, busy <= _BUSY_SHARE_MAX


def busy_share() -> float:
    """The share of processor time that others take, looked at for a second; 0 if not known."""
    first = _ticks()
    time.sleep(_LOOK_S)
    second = _ticks()
    if not first or not second:
        return 0.0
    passed = [after - before for before, after in zip(first, second, strict=True)]
    total = sum(passed)
    # proc(5): user, nice, system, idle, iowait, …
    return (total - passed[3] - passed[4]) / total if total else 0.0


def _ticks() -> list[int]:
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return []
    return [int(value) for value in line.split()[1:9]]


def _model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
