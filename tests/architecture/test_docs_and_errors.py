"""What documentation says about the program is compared with the program."""

import re
from pathlib import Path

from worker import errors
from worker.errors import ExitCode, WorkerError

ROOT = Path(__file__).parents[2]


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
