"""Expressions in the methods of a class, which give way to submodules.

`F.relu(x)` in the source becomes `self.relu(x)`. Nothing runs beside the model then: nothing is
slower, and torch.compile, torch.export, fx and checkpointing see plain Python.
"""

import ast
from collections.abc import Mapping
from types import FunctionType
from typing import Any, NamedTuple

from softplus.rewriting import functions, methods


class Key(NamedTuple):
    """Which expression of a class gives way.

    The method that holds it; where it ends, from the line of the `def`; its text; a label of the
    caller's; and where the submodule's input stands: in an "argument", in the "self" of a method's
    call, or nowhere ("") where the expression is no call.
    """

    method: str
    line: int
    column: int
    text: str
    label: str
    input: str


def rewritten(cls: type, attributes: Mapping[Key, str]) -> list[tuple[type, str, FunctionType]]:
    """Return the methods of a class that call attributes of self in place of expressions.

    Each comes with its name and the class whose method it stands in for.

    Raises:
        UnreadableError, KeyError: There is no such method or expression any more.
    """
    missing, found = set(attributes), []
    for base, name, function in methods.own_methods(cls):
        inner = functions.innermost(function)
        method = methods.method_name(cls, base, function)
        here = {key: attribute for key, attribute in attributes.items() if key.method == method}
        if here:
            rewriter = _Rewriter(inner, here)
            missing -= rewriter.done
            new = functions.redefined(inner, rewriter.definition)
            found.append((base, name, functions.redecorated(function, new)))
    if missing:
        raise KeyError(*missing)
    return found


class _Rewriter(ast.NodeTransformer):
    """Has the definition of a method call attributes of self in place of expressions."""

    def __init__(self, function: FunctionType, attributes: Mapping[Key, str]) -> None:
        self.done: set[Key] = set()
        self.definition = functions.definition(function)
        self._self = function.__code__.co_varnames[0]
        start = self.definition.lineno
        self._keys = {(start + key.line, key.column, key.text): key for key in attributes}
        self._attributes = attributes
        self.definition.body = [self.visit(statement) for statement in self.definition.body]

    def visit(self, node: ast.AST) -> Any:
        key = None
        if isinstance(node, ast.expr) and self._keys:
            end = (node.end_lineno or 0, node.end_col_offset or 0)
            if any(end == (line, column) for line, column, _ in self._keys):
                key = self._keys.get((*end, ast.unparse(node)))
        if key is None:
            return self.generic_visit(node)
        self.done.add(key)
        new: ast.expr = ast.Attribute(
            ast.Name(self._self, ast.Load()), self._attributes[key], ast.Load()
        )
        if key.input:
            new = ast.Call(new, [self.visit(_input(node, key))], [])
        return ast.copy_location(new, node)


def _input(node: Any, key: Key) -> ast.expr:
    """Return the input of a call."""
    if key.input == "self":
        found: ast.expr = node.func.value
        return found
    words = [word.value for word in node.keywords if word.arg == "input"]
    first: ast.expr = (*words, *node.args)[0]
    return first
