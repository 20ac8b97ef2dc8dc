"""The activations in the source of a model's classes, and of the functions that they use."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import nn

from softplus.conversion import spellings
from softplus.conversion.sites import Found, Kind
from softplus.conversion.spellings import Call
from softplus.rewriting import functions, holders, methods
from softplus.rewriting.expressions import Key
from softplus.rewriting.functions import UNKNOWN, UnreadableError
from softplus.rewriting.methods import Place

_OUTSIDE = (
    "it stands outside of the model's classes: call it in a method, or keep it as an attribute"
)
_UNREADABLE = (
    "its source cannot be read (typed at a prompt, changed since loading, rewritten on import as "
    "pytest does), or it is a lambda or async: keep it as a module"
)


def calls(path: str, owner: nn.Module, cls: type) -> list[Found]:
    """Return the activations in the methods of a module, and in the functions that they use.

    `cls` is the class whose source they are in; the sites have no attribute yet.
    """
    reached = methods.reached_methods(cls)
    ways = [
        (function, name in reached, methods.method_name(cls, base, function))
        for base, name, function in methods.own_methods(cls)
    ]
    held = [(value, True, "") for value in vars(owner).values() if functions.is_users(value)]
    found: dict[FunctionType, list[Found]] = {
        functions.innermost(function): [] for function, *_ in ways
    }
    # What forward reaches comes first, so that a function which it shares counts as reached.
    waiting = [*sorted(ways, key=lambda way: not way[1]), *held]
    seen: set[FunctionType] = set()
    while waiting:
        function, is_reached, method = waiting.pop(0)
        inner = functions.innermost(function)
        if inner in seen:
            continue
        seen.add(inner)
        used = methods.used(inner, cls)
        waiting += [
            (value, is_reached, "")
            for value in used
            # What a model uses, and what that uses of its own package: not whole libraries.
            if functions.is_users(value)
            and (method or functions.package(value) == functions.package(inner))
        ]
        found[inner] = [
            Found(Kind.SOURCE, path, "", call, place, key, obstacle, is_reached)
            for call, place, key, obstacle in (
                *_calls(owner, cls, function, method, used),
                *_scripted(inner, used),
            )
            # Where it cannot be replaced, a clamp is not worth a word, nor is what is only named.
            if method or call.spelling.left is None
            if is_reached or key is None or key.input
        ]
    return [each for some in found.values() for each in some]


def _may_activate(owner: nn.Module, function: FunctionType, used: list[Any]) -> bool:
    """Whether it names an activation, or a thing that holds one: the others need no reading."""
    names = functions.Scope(function).names
    held = [vars(owner).get(name) for name in names]
    inside = [part for value in held for part in holders.parts(value)]
    return not spellings.NAMES.keys().isdisjoint(names) or any(
        spellings.read_member(value) or spellings.is_module_of(value)
        for value in (*used, *inside, *functions.defaults(function))
    )


_Seen = tuple[Call, Place, Key | None, str | None]  # the last is an obstacle


def _calls(
    owner: nn.Module, cls: type, function: FunctionType, method: str, used: list[Any]
) -> Iterable[_Seen]:
    inner = functions.innermost(function)
    if not _may_activate(owner, inner, used):
        return
    yield from _defaults(inner)
    try:
        if method:
            functions.redecorated(function, inner)
        yield from _Reader(owner, cls, inner, method).calls
    except UnreadableError:
        yield from _named(owner, inner)


def _defaults(function: FunctionType) -> Iterator[_Seen]:
    """Yield the activations that a function calls unless another one is passed to it."""
    for value in functions.defaults(function):
        call = spellings.read_member(value)
        if call is not None:
            obstacle = "it is the default of a parameter: pass a module there"
            yield call, _start(function), None, obstacle


def _named(owner: nn.Module, function: FunctionType) -> Iterator[_Seen]:
    """Yield the activations that a function without source names, and its module does not have."""
    scope = functions.Scope(function)
    for name in sorted(scope.names):
        call = spellings.read(scope[name], [None], {})
        known = spellings.NAMES.get(name) if call is None else call.spelling
        if known is not None and known.left is None and not holders.has(owner, name):
            yield Call(replace(known, text=name)), _start(function), None, _UNREADABLE


def _scripted(function: FunctionType, used: list[Any]) -> Iterator[_Seen]:
    for value in used:
        if isinstance(value, torch.jit.ScriptFunction) and "aten::relu" in str(value.inlined_graph):
            obstacle = f"{value.name} is compiled by TorchScript: call it uncompiled"
            yield Call(spellings.TORCHSCRIPT), _start(function), None, obstacle


def _start(function: FunctionType) -> Place:
    return Place(function.__code__.co_filename, function.__code__.co_firstlineno)


class _Reader(ast.NodeVisitor):
    """Reads the activations in the definition of a function, a method of `owner` or not."""

    def __init__(self, owner: nn.Module, cls: type, function: FunctionType, method: str) -> None:
        self.calls: list[_Seen] = []
        self._owner, self._cls, self._method = owner, cls, method
        self._scope = functions.Scope(function)
        self._file = function.__code__.co_filename
        self._definition = functions.definition(function)
        self._imports = dict(functions.imports(self._definition))
        self._self = next(iter(function.__code__.co_varnames), "") if method else ""
        if method and (
            function.__code__.co_argcount < 1 or functions.binds(self._definition, self._self)
        ):
            raise UnreadableError
        for statement in self._definition.body:
            self.visit(statement)

    def visit_Call(self, node: ast.Call) -> None:
        call = self._call(node)
        if call is None:
            self._mention(node)
            return
        for child in (*node.args, *node.keywords):
            self.visit(child)
        is_method = isinstance(node.func, ast.Attribute) and call.input is node.func.value
        if is_method:
            self.visit(call.input)
        self._add(node, call, "self" if is_method else "argument", node.func.end_lineno)

    def _mention(self, node: ast.expr) -> None:
        """Read an activation that is not called here, but passed on or given another name."""
        is_read = isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
        call = spellings.read_member(self._value(node)) if is_read else None
        if call is None:
            self.generic_visit(node)
        else:
            self._add(node, call, "", node.end_lineno)

    visit_Name = visit_Attribute = visit_Subscript = _mention  # noqa: N815 -- ast's names

    def _add(self, node: ast.expr, call: Call, input: str, line: int | None) -> None:
        key = None
        if self._method:
            end = (node.end_lineno or 0) - self._definition.lineno, node.end_col_offset or 0
            key = Key(self._method, *end, ast.unparse(node), call.spelling.family, input)
        obstacle = None if key else _OUTSIDE
        if isinstance(call.options.get("inplace"), ast.AST):
            key, obstacle = None, "whether it works in place is not fixed: write True or False"
        self.calls.append((call, Place(self._file, line or 0), key, obstacle))

    def _call(self, node: ast.Call) -> Call | None:
        """Return what a call computes, None if it is no activation or cannot be told."""
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            return None
        function = self._value(node.func)
        if isinstance(function, (nn.Module, partial)):
            inputs = [*node.args, *(word.value for word in node.keywords if word.arg == "input")]
            call = spellings.read_member(function) if len(inputs) == 1 else None
            return call and replace(call, input=inputs[0])
        keywords = {str(word.arg): self._constant(word.value) for word in node.keywords}
        arguments = [self._constant(argument) for argument in node.args]
        if function is UNKNOWN and isinstance(node.func, ast.Attribute):
            # A method of something computed here, which is a tensor unless it is self.
            of = node.func.value
            if self._value(of) is UNKNOWN and ast.unparse(of) != self._self:
                function = spellings.METHODS.get(node.func.attr, UNKNOWN)
                arguments = [of, *arguments]
        call = spellings.read(function, arguments, keywords)
        return call if call is not None and isinstance(call.input, ast.expr) else None

    def _constant(self, node: ast.expr) -> Any:
        """Return the number or None that an expression is known to be, else the expression."""
        value = node.value if isinstance(node, ast.Constant) else self._value(node)
        return value if value is None or isinstance(value, (int, float)) else node

    def _value(self, node: ast.expr) -> Any:
        """Return what an expression stands for, UNKNOWN where that is not fixed."""
        if isinstance(node, ast.Name):
            return self._imports.get(node.id, self._scope[node.id])
        if isinstance(node, ast.Call):
            return self._built(node)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == self._self:
                return self._own(node.attr)
            return holders.attribute(self._value(node.value), node.attr)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return holders.item(self._value(node.value), node.slice.value)
        return UNKNOWN

    def _own(self, name: str) -> Any:
        """Return what an attribute of self stands for, other than a site that the module holds."""
        if name in vars(self._owner):
            value = vars(self._owner)[name]
            return UNKNOWN if spellings.read_member(value) else value
        if name in vars(self._owner)["_modules"]:
            return UNKNOWN
        return methods.class_attribute(self._cls, name)

    def _built(self, node: ast.Call) -> Any:
        """Return the module that an expression such as `nn.ReLU(inplace=True)` builds."""
        cls: Any = self._value(node.func)
        if isinstance(node.func, ast.Call) or not spellings.is_module_of(cls):
            return UNKNOWN
        arguments = [self._constant(argument) for argument in node.args]
        keywords = {str(word.arg): self._constant(word.value) for word in node.keywords}
        if any(isinstance(value, ast.AST) for value in (*arguments, *keywords.values())):
            return UNKNOWN
        try:
            return cls(*arguments, **keywords)
        except (TypeError, ValueError):
            return UNKNOWN
