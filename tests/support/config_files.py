"""Configuration files of a test."""

from pathlib import Path


def write(folder: Path, content: str | bytes, name: str = "config/worker.toml") -> Path:
    """Write a file with that content, in a folder that is made if need be."""
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
