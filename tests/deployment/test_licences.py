"""Whatever is locked has a licence that we may use, by the package's own words."""

import re
from importlib.metadata import PackageNotFoundError, metadata

import pytest

from tests.deployment.test_locks import LOCKS, pins
from tests.support.deployment.deployed import ROOT

ALLOWED = re.compile(
    r"MIT|MIT-0|BSD|[023]-Clause|Apache|PSF|Python Software Foundation|ISC|MPL|Mozilla|LGPL"
    r"|Lesser General Public|Artistic|UPL|Unlicense|Zlib|Public Domain|Freely Distributable"
)
"""As `make licences` has it, and the Artistic License of a tool. No AGPL, no GPL, none unnamed."""
NOT_INSTALLED = {
    "agate": "MIT",
    "alabaster": "BSD-3-Clause",
    "annotated-types": "MIT",
    "arrow": "Apache-2.0",
    "babel": "BSD-3-Clause",
    "boolean-py": "BSD-2-Clause",
    "cachecontrol": "Apache-2.0",
    "chardet": "0BSD",
    "colorama": "BSD-3-Clause",
    "cyclonedx-bom": "Apache-2.0",
    "cyclonedx-python-lib": "Apache-2.0",
    "daff": "MIT",
    "dbt-adapters": "Apache-2.0",
    "dbt-common": "Apache-2.0",
    "dbt-core": "Apache-2.0",
    "dbt-extractor": "Apache-2.0",
    "dbt-postgres": "Apache-2.0",
    "dbt-protos": "Apache-2.0",
    "dbt-semantic-interfaces": "Apache-2.0",
    "deepdiff": "MIT",
    "defusedxml": "PSF-2.0",
    "docutils": "Public Domain AND BSD-2-Clause",
    "filelock": "MIT",
    "fqdn": "MPL-2.0",
    "imagesize": "MIT",
    "importlib-metadata": "Apache-2.0",
    "isodate": "BSD-3-Clause",
    "isoduration": "ISC",
    "jsonpointer": "BSD-3-Clause",
    "lark": "MIT",
    "leather": "MIT",
    "license-expression": "Apache-2.0",
    "lxml": "BSD-3-Clause",
    "mashumaro": "Apache-2.0",
    "more-itertools": "MIT",
    "msgpack": "Apache-2.0",
    "myst-parser": "MIT",
    "networkx": "BSD-3-Clause",
    "oracledb": "Apache-2.0 OR UPL-1.0",
    "orderly-set": "MIT",
    "packageurl-python": "MIT",
    "parsedatetime": "Apache-2.0",
    "pip-api": "Apache-2.0",
    "pip-audit": "Apache-2.0",
    "pip-licenses": "MIT",
    "pip-requirements-parser": "MIT",
    "prettytable": "BSD-3-Clause",
    "psycopg2-binary": "LGPL-3.0-or-later",
    "py-serializable": "Apache-2.0",
    "pydantic": "MIT",
    "pydantic-core": "MIT",
    "pyodbc": "MIT",
    "pyparsing": "MIT",
    "python-dateutil": "BSD-3-Clause OR Apache-2.0",
    "python-slugify": "MIT",
    "pytimeparse": "MIT",
    "pytz": "MIT",
    "pyyaml-ft": "MIT",
    "rfc3339-validator": "MIT",
    "rfc3986-validator": "MIT",
    "rfc3987-syntax": "MIT",
    "roman-numerals": "0BSD OR CC0-1.0",
    "snowballstemmer": "BSD-3-Clause",
    "snowplow-tracker": "Apache-2.0",
    "sphinx": "BSD-2-Clause",
    "sphinxcontrib-applehelp": "BSD-2-Clause",
    "sphinxcontrib-devhelp": "BSD-2-Clause",
    "sphinxcontrib-htmlhelp": "BSD-2-Clause",
    "sphinxcontrib-jsmath": "BSD-2-Clause",
    "sphinxcontrib-qthelp": "BSD-2-Clause",
    "sphinxcontrib-serializinghtml": "BSD-2-Clause",
    "sqlparse": "BSD-3-Clause",
    "text-unidecode": "Artistic-1.0-Perl",
    "tomli": "MIT",
    "tomli-w": "MIT",
    "typing-inspection": "MIT",
    "uri-template": "MIT",
    "uv": "MIT OR Apache-2.0",
    "wcwidth": "MIT",
    "webcolors": "BSD-3-Clause",
    "zipp": "MIT",
}
"""Of other platforms, databases for rosters, `make audit`, `make docs` and `make dbt-test`, as
their pages say. The file of docutils that is under the GPL, a mode for Emacs, is not in its
wheel. text-unidecode, a part of dbt, may be had under the Artistic License or the GPL."""


def licence_of(name: str) -> str:
    """What an installed package says of its licence, the most exact first."""
    about = metadata(name)
    # An installed importlib_metadata raises on a missing header, as the standard one will.
    said = {key: about.get_all(key) or [""] for key in ("License-Expression", "License")}
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in about.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    return said["License-Expression"][0] or "; ".join(classifiers) or said["License"][0][:80]


def locked() -> list[str]:
    return sorted({name for lock in LOCKS for name in pins(lock)})


@pytest.mark.parametrize("name", locked())
def test_licence_is_allowed(name: str):
    """Each of its parts is one of those that are allowed."""
    try:
        licence = licence_of(name)
    except PackageNotFoundError:
        licence = NOT_INSTALLED[name]
    assert licence, f"{name} names no licence"
    assert ALLOWED.search(licence), f"{name}: {licence}"
    assert not re.search(r"Affero|GNU General|(?<!L)GPL", licence), f"{name}: {licence}"


def test_make_licences_allows_no_more():
    """Of the GPL's family the Makefile names the LGPL alone, too."""
    (line,) = re.findall(r"(?m)^LICENCES := (.+)$", (ROOT / "Makefile").read_text())
    assert "GPL" not in line.replace("LGPL", "")
