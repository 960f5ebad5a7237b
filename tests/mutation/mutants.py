"""Mistakes that a developer could make, sown one at a time into a module's source.

Not sown: words (strings, what is logged, the text of an error and its hint), annotations,
decorators, and arguments swapped where that never matters or can never run.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CONDITIONS = {"where", "and_", "or_", "filter", "having"}
"""Calls each of whose arguments is a condition of its own."""

_NOT_SWAPPED = {"min", "max", "isinstance", "getattr", "cast", "Column", "Table", "Index"}
"""The first two are the same in any order; the others fail at once, whatever the tests are."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_LOGS = {"debug", "info", "warning", "error", "exception", "note"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mistake at one place.

    Attributes:
        module: the file, from the root.
        line: of the source as it is.
        at_import: it stands in no function, and so runs when the module is imported.
        node: its place in ``ast.walk``.
        variant: which of the mistakes that can be made there.
        what: what is changed, for people.
    """

    module: str
    line: int
    at_import: bool
    node: int
    variant: int
    what: str


Change = Callable[[], None]
"""Makes the mistake in the tree that it was found in."""


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every mistake that can be made in this source, in order."""
    tree = ast.parse(source)
    skipped, within = _skipped(tree), _in_functions(tree)
    raised = {id(node.exc) for node in ast.walk(tree) if isinstance(node, ast.Raise)}
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if number in skipped or not isinstance(node, ast.expr | ast.stmt | ast.excepthandler):
            continue
        found += [
            Mutant(
                module=module,
                line=node.lineno,
                at_import=id(node) not in within,
                node=number,
                variant=variant,
                what=what,
            )
            for variant, (what, _) in enumerate(_changes(node))
            if not (id(node) in raised and what.endswith("swapped"))
        ]
    return found


def mutated(source: str, mutant: Mutant) -> str:
    """The source with that mistake; its comments are lost."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[mutant.node]
    _, change = list(_changes(node))[mutant.variant]
    change()
    return ast.unparse(ast.fix_missing_locations(tree))


def _in_functions(tree: ast.Module) -> set[int]:
    functions = (one for one in ast.walk(tree) if isinstance(one, _FUNCTIONS))
    bodies = (part for one in functions for part in one.body)
    return {id(node) for part in bodies for node in ast.walk(part)}


def _skipped(tree: ast.Module) -> set[int]:
    """Places in ``ast.walk`` below which nothing is sown."""
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                roots += [*node.decorator_list, *([node.returns] if node.returns else [])]
                if node.name in {"__repr__", "__str__"}:
                    roots.append(node)
            case ast.ClassDef():
                roots += node.decorator_list
            case ast.arg(annotation=ast.AST() as annotation) | ast.AnnAssign(annotation=annotation):
                roots.append(annotation)
            case ast.Raise(exc=ast.Call() as call):
                roots += [*call.args, *(word.value for word in call.keywords)]
            case ast.JoinedStr():
                roots.append(node)
            case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom():
                roots.append(node)
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))) if name in _LOGS:
                roots.append(node)
    return {numbers[id(node)] for root in roots for node in ast.walk(root) if id(node) in numbers}


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """What can be done wrong at this node, and how."""
    yield from _of_expressions(node)
    yield from _of_statements(node)
    if isinstance(node, ast.Call):
        yield from _of_calls(node)


def _of_expressions(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in _COMPARISONS[type(operator)]:
                    what = f"{type(operator).__name__} is {other.__name__}"
                    yield what, _setter(node.ops, place, other())
        case ast.BoolOp():
            other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "and is or, or or is and", _attribute(node, "op", other_op)
        case ast.UnaryOp(op=ast.Not()):
            yield "not left out", _become(node, _call("bool", node.operand))
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS and not _has_text(node):
            new = _OPERATORS[type(operator)]
            yield f"{type(operator).__name__} is {new.__name__}", _attribute(node, "op", new())
        case ast.IfExp():
            yield "condition negated", _negate(node)
        case ast.Constant(value=bool() as value):
            yield f"{value} is {not value}", _attribute(node, "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield f"{value} is {value + 1}", _attribute(node, "value", value + 1)
        case _:
            pass


def _of_statements(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.If() | ast.While():
            yield "condition negated", _negate(node)
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield "call left out", _attribute(node, "value", ast.Constant(None))
        case ast.Raise(exc=ast.AST()):
            yield "raise left out", _become(node, ast.Pass())
        case ast.Return(value=ast.AST() as value) if not isinstance(value, ast.Constant):
            yield "returns None", _attribute(node, "value", ast.Constant(None))
        case ast.AugAssign(op=ast.Add()):
            yield "+= is -=", _attribute(node, "op", ast.Sub())
        case ast.ExceptHandler() if not isinstance(node.body[0], ast.Raise):
            yield "exception not handled", _attribute(node, "body", [ast.Raise()])
        case ast.Break():
            yield "break left out", _become(node, ast.Pass())
        case ast.Continue():
            yield "continue is break", _become(node, ast.Break())
        case _:
            pass


def _of_calls(node: ast.Call) -> Iterator[tuple[str, Change]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    name = node.func.id if isinstance(node.func, ast.Name) else name
    is_starred = any(isinstance(one, ast.Starred) for one in node.args)
    if name in _CONDITIONS:
        for place in range(len(node.args) if len(node.args) > 1 else 0):
            what = f"condition {place + 1} of {name} left out"
            yield what, _attribute(node, "args", node.args[:place] + node.args[place + 1 :])
    elif len(node.args) > 1 and not is_starred and name not in _NOT_SWAPPED:
        first, second, *rest = node.args
        if ast.dump(first) != ast.dump(second):
            yield f"arguments of {name} swapped", _attribute(node, "args", [second, first, *rest])
    for place, word in enumerate(node.keywords):
        if word.arg and word.arg != "hint":
            left = node.keywords[:place] + node.keywords[place + 1 :]
            yield f"{word.arg} not given to {name}", _attribute(node, "keywords", left)


def _call(name: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])


def _has_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and type(one.value) is str)
        for one in (node.left, node.right)
    )


def _attribute(node: ast.AST, name: str, value: object) -> Change:
    return lambda: setattr(node, name, value)


def _setter(items: list[ast.cmpop], place: int, value: ast.cmpop) -> Change:
    return lambda: items.__setitem__(place, value)


def _negate(node: ast.If | ast.While | ast.IfExp) -> Change:
    return _attribute(node, "test", ast.UnaryOp(ast.Not(), copy.copy(node.test)))


def _become(node: ast.AST, other: ast.AST) -> Change:
    def change() -> None:
        node.__class__ = type(other)
        node.__dict__.update(other.__dict__)

    return change
