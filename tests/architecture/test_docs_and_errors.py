"""What documentation says about the program is compared with the program."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.documents import PAGES
from tests.architecture.log_events import WORKER, log_calls
from worker import errors
from worker.config.keys import KEYS
from worker.errors import ExitCode, WorkerError


def test_the_error_tree_in_the_docstring_is_the_error_tree():
    """Every error class stands in the tree, with the exit code that it has."""
    tree = errors.__doc__ or ""
    named = dict(re.findall(r"(\w+Error)(?:\([^)]*\))?\s+(\d+|\S)?", tree))
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, WorkerError)
    }
    assert set(classes) == set(named)
    for name, code in named.items():
        if code.isdigit():
            assert ExitCode(int(code)) == classes[name].exit_code


SECTIONS = sorted({name.partition(".")[0] for name in KEYS})
FILES = ("md", "py", "csv", "db", "jwk", "key")


def named_keys() -> Iterator[tuple[str, str]]:
    """What looks like a configuration key in the texts of the program, and on the pages."""
    shape = re.compile(rf"(?<![\w./:-])((?:{'|'.join(SECTIONS)})\.([a-z]\w*))(?![\w(/.])")
    for path in (*sorted(WORKER.rglob("*.py")), *PAGES):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            nodes = ast.walk(ast.parse(text))
            text = "\n".join(str(node.value) for node in nodes if isinstance(node, ast.Constant))
        for name, last in shape.findall(text):
            if last not in FILES:
                yield name, path.name


def test_every_key_that_is_named_exists():
    """No message, hint or page sends an operator to a key that the configuration does not have."""
    known = {*KEYS, *(call.event for call in log_calls()), "database.password"}  # a file
    assert sorted({(name, page) for name, page in named_keys() if name not in known}) == []
