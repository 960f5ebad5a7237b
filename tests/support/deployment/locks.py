"""The lock files, as pip reads them."""

import re
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.deployment.deployed import ROOT

EXTRAS: Final = ("parquet", "oracle", "mssql")
INSTALLED: Final = (
    "requirements/core.lock",
    *(f"requirements/{name}.lock" for name in (*EXTRAS, "build", "dev")),
)
"""What may be installed together with the worker, and is for `make test`."""
NIGHTLY: Final = "requirements/nightly.lock"
"""What `make test-all` installs there besides."""
APART: Final = tuple(f"requirements/{name}.lock" for name in ("audit", "docs", "dbt", "lock"))
"""Tools that have environments of their own."""


def pins(lock: str) -> dict[str, str]:
    """The locked version of each package; every package has at least one hash."""
    found: dict[str, str] = {}
    for entry in re.split(r"(?m)^(?=[a-z0-9])", (ROOT / lock).read_text())[1:]:
        requirement = Requirement(entry.split("\\")[0])
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), requirement.name
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement.name
        found[canonicalize_name(requirement.name)] = str(requirement.specifier)[2:]
    return found
