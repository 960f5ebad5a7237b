"""The checkout, and the parsed source files of a folder."""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@cache
def parsed(folder: str) -> Mapping[Path, ast.Module]:
    """Each Python file below a folder of the checkout, parsed once."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
