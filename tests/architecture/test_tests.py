"""Every test can fail.

ruff sees an assertion that holds by itself (``or True``, ``x == x``, a tuple) and
``pytest.raises(Exception)``; here is what it does not see.
"""

import ast
from collections.abc import Collection, Iterator, Mapping

from tools.docs.tree import ROOT, parsed

RAISERS = {
    "pytest.raises",
    "pytest.fail",
    "hypothesis.stateful.run_state_machine_as_test",
    "requests_oauth2client.dpop.validate_dpop_proof",
    "worker.config.needs",
    "worker.core.database_urls.check_store_url",
}
"""What raises when something is wrong, besides functions of ``tests/`` that assert."""
RAISE_NOTHING = {
    "tests.unit.test_run_watch.test_nobody_who_listens_is_no_error",
}
"""Tests that say just that nothing is raised."""
PLANTED = (
    "run(worker, 'sync')",
    "wait(worker)",
    "world.read(3)",
    "return judge",
    "def inner():\n  assert worker",
)
SUPPORT = "def run(worker, name):\n assert worker is not None\ndef judge():\n assert name"
OTHERS = "def wait():\n assert name\ndef read():\n assert name"
Modules = Mapping[str, ast.Module]
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def functions(trees: Modules) -> Iterator[tuple[str, ast.AST]]:
    """Each function, nested ones and methods too, by the module's and its own name."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTION):
                yield f"{module}.{node.name}", node


def reached(node: ast.AST, names: Collection[str]) -> Iterator[ast.AST]:
    """What may be run of it: not a function inside it that bears none of these names."""
    yield node
    for child in ast.iter_child_nodes(node):
        is_unnamed = isinstance(child, FUNCTION) and child.name not in names
        if isinstance(node, ast.ClassDef) or not is_unnamed:
            yield from reached(child, names)


def nodes_of(function: ast.AST) -> Iterator[ast.AST]:
    """What may be run of a function: itself, and those inside it that it names."""
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    return reached(function, names)


def asserts(function: ast.AST, *, is_test: bool) -> bool:
    """Whether it asserts something; in support ``x is not None`` may be there for mypy."""
    for node in nodes_of(function):
        match node:
            case ast.Assert(test=ast.Compare(ops=[ast.IsNot()])) if not is_test:
                pass
            case ast.Assert():
                return True
            case ast.Attribute(attr=name) if name.startswith("assert_"):
                return True
            case ast.Raise(exc=ast.expr() as raised) if "AssertionError" in ast.unparse(raised):
                return True
            case _:
                pass
    return False


def used(module: str, tree: ast.Module, function: ast.AST) -> Iterator[str]:
    """The full names of what a function uses, as its module defines or imports them."""
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = {one.name: f"{node.module}.{one.name}" for node in imports for one in node.names}
    for node in nodes_of(function):
        if isinstance(node, ast.Name):
            yield names.get(node.id, f"{module}.{node.id}")
        elif isinstance(node, ast.Attribute):
            yield f"{names.get(left := ast.unparse(node.value), left)}.{node.attr}"


def idle(trees: Modules) -> set[str]:
    """Tests that neither assert nor use a function that does so itself."""
    judges = {name for name, node in functions(trees) if asserts(node, is_test=False)} | RAISERS
    return {
        name
        for name, node in functions(trees)
        if name.rpartition(".")[2].startswith("test") and not asserts(node, is_test=True)
        for module in [name.rpartition(".")[0]]
        if judges.isdisjoint(used(module, trees[module], node))
    }


def test_every_test_asserts_something():
    """A test that only calls shows that nothing was raised, which is rarely what it says."""
    trees = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): tree
        for path, tree in parsed("tests").items()
    }
    assert idle(trees) - RAISE_NOTHING == set()


def test_an_empty_test_is_found():
    """Even if a function of another module asserts under the name of what it calls."""
    tests = "\n".join(f"def test_{number}():\n {body}" for number, body in enumerate(PLANTED))
    source = f"from tests.support.program import run, wait\n{tests}"
    texts = {"tests.support.program": SUPPORT, "tests.test_other": OTHERS, "tests.test_it": source}
    found = idle({module: ast.parse(text) for module, text in texts.items()})
    assert found == {f"tests.test_it.test_{number}" for number in range(len(PLANTED))}
