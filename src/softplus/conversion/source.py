"""The source of a model's classes: where it calls an activation, and its methods rewritten.

`F.relu(x)` in the source becomes `self.relu(x)`, a submodule. Nothing runs beside the model then:
nothing is slower, and torch.compile, torch.export, fx and checkpointing see plain Python.
"""

import ast
import dis
import functools
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any, NamedTuple

from softplus.conversion import functions, spellings
from softplus.conversion.functions import UNKNOWN, UnreadableError

# What a name may stand for that reading can use: a way to a function, a function, a constant bound.
_USEFUL = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodDescriptorType, int, float)
# The method of a rewritten class for clamps, which may get an index (see `classes`).
FLOATING_ONLY = "_activate_floating"


class Key(NamedTuple):
    """Which call of a class it is: the method, the number of the call there, its spelling."""

    method: str
    number: int
    spelling: str


class Place(NamedTuple):
    """Where a call stands, as a running frame knows it too, and the family of the call."""

    file: str
    line: int
    family: str = ""

    @property
    def short(self) -> "Place":
        """The same without folders, for a model may be loaded on another machine."""
        return _short(self)


@functools.cache  # a path takes 25 microseconds to take apart
def _short(place: Place) -> Place:
    return place._replace(file=Path(place.file).name)


@dataclass(frozen=True)
class SourceCall:
    """A call of an activation in source, and where; without a key, it cannot be rewritten there.

    Where reading shows a function and not what becomes of it, in bytecode and in the default of a
    parameter, the call may run on any line up to `last`.
    """

    call: spellings.Call
    place: Place
    key: Key | None = None
    last: int = 0


def methods(cls: type) -> Iterator[tuple[type, str, FunctionType]]:
    """Yield each function of the user's that runs as a method or property, and where it is held.

    An overridden one runs only where super() leads to it.
    """
    for name in dict.fromkeys(name for base in cls.__mro__ for name in vars(base)):
        if name.startswith("__") and name != "__call__":
            continue
        for base in (base for base in cls.__mro__ if name in vars(base)):
            member = vars(base)[name]
            function = member.fget if isinstance(member, property) else member
            if not functions.is_users(function):
                break
            yield base, name, function
            if "__class__" not in functions.innermost(function).__code__.co_freevars:
                break


def names(cls: type) -> set[str]:
    """Return the names that the methods of a class use: of globals and of attributes."""
    found: set[str] = set()
    for _, _, function in methods(cls):
        found |= functions.Scope(functions.innermost(function)).names
    return found


def loads(function: FunctionType) -> Iterator[tuple[str, str | None, Place]]:
    """Yield each name that a function loads, what was named just before it, and where.

    An attribute of `self` is a name after "self". The bytecode says so: no source is needed.
    """
    for code in functions.codes(function.__code__):
        before: Any = None
        for instruction in dis.get_instructions(code):
            if instruction.opname in {"LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL", "LOAD_NAME"}:
                line = (instruction.positions and instruction.positions.lineno) or 0
                yield instruction.argval, before, Place(code.co_filename, line)
            # From Python 3.13 on, one instruction may load two variables.
            names = instruction.argval
            before = names[-1] if isinstance(names, tuple) and names else names


def calls(cls: type, more: Iterable[FunctionType] = ()) -> list[SourceCall]:
    """Return the calls of activations in the methods of a class and in the functions they use.

    `more` are further functions that the methods reach.
    """
    found: list[SourceCall] = []
    seen: set[FunctionType] = set()
    waiting: list[tuple[FunctionType, str | None]] = [
        *((function, _method(cls, base, function)) for base, _, function in methods(cls)),
        *((function, None) for function in more),
    ]
    while waiting:
        function, method = waiting.pop(0)
        inner = functions.innermost(function)
        if inner in seen:
            continue
        seen.add(inner)
        reached = _reached(inner, cls)
        waiting += [
            (value, None)
            for value in reached
            # What a model uses, and what that uses of its own package: not whole libraries.
            if functions.is_users(value)
            and (method or functions.package(value) == functions.package(inner))
        ]
        found += _defaults(inner)
        if not any(map(spellings.is_activation, reached)) and not (
            spellings.NAMES.keys() & functions.Scope(inner).names
        ):
            continue
        try:
            functions.redecorated(function, inner)
            found += _Reader(inner, cls, method).calls
        except UnreadableError:
            found += _mentions(inner, is_method=method is not None)
    return found


def rewritten(cls: type, attributes: Mapping[Key, str]) -> list[tuple[type, str, FunctionType]]:
    """Return the methods of a class that call an attribute of self in place of an activation.

    Each comes with its name and the class whose method it stands in for.

    Raises:
        UnreadableError, KeyError: There is no such method or call any more.
    """
    missing, found = set(attributes), []
    for base, name, function in methods(cls):
        inner = functions.innermost(function)
        method = _method(cls, base, function)
        if method in {key.method for key in attributes}:
            reader = _Reader(inner, cls, method, attributes)
            missing -= {call.key for call in reader.calls if call.key is not None}
            new = functions.redefined(inner, reader.definition)
            found.append((base, name, functions.redecorated(function, new)))
    if missing:
        raise KeyError(*missing)
    return found


def _method(cls: type, base: type, function: FunctionType) -> str:
    """Return what tells a method from the others of a class, which may inherit from a namesake."""
    return f"{cls.__mro__.index(base)}:{functions.innermost(function).__qualname__}"


def _defaults(function: FunctionType) -> Iterator[SourceCall]:
    """Yield the activations that a function calls unless another one is passed to it."""
    code = function.__code__
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        call = spellings.read_member(value)
        if call is not None:
            place = Place(code.co_filename, code.co_firstlineno, call.family)
            yield SourceCall(call, place, last=_last_line(function))


def _mentions(function: FunctionType, *, is_method: bool) -> Iterator[SourceCall]:
    """Yield what the bytecode of a function shows of its calls, one of a family to a line."""
    scope = functions.Scope(function)
    found: dict[Place, spellings.Call] = {}
    for name, before, place in loads(function):
        if is_method and before in function.__code__.co_varnames[:1]:
            continue  # an attribute of self
        holder = scope[str(before)]
        value = getattr(holder, name, None) if isinstance(holder, ModuleType) else scope[name]
        call = spellings.named(name, value)
        if call is not None:
            found.setdefault(place._replace(family=call.family), call)
    end = _last_line(function) + 1
    for place in sorted(found):
        later = [other.line for other in found if other.family == place.family]
        next_one = min((line for line in later if line > place.line), default=end)
        yield SourceCall(found[place], place, last=next_one - 1)


def _last_line(function: FunctionType) -> int:
    codes = functions.codes(function.__code__)
    return max(line or 0 for code in codes for *_, line in code.co_lines())


def _reached(function: FunctionType, cls: type) -> list[Any]:
    """Return what the names in a function may stand for: globals, and members of those."""
    scope = functions.Scope(function)
    values = [scope[name] for name in scope.names]
    holders = [value for value in values if isinstance(value, (ModuleType, type))]
    values += [vars(holder).get(name) for holder in holders for name in scope.names]
    values += [_static_method(cls, name) for name in scope.names]
    return [value for value in values if isinstance(value, _USEFUL)]


def _static_method(cls: type, name: str) -> Any:
    member = inspect.getattr_static(cls, name, None)
    return member.__func__ if isinstance(member, staticmethod) else UNKNOWN


class _Reader(ast.NodeTransformer):
    """Reads the calls in a definition, and replaces those that have an attribute."""

    def __init__(
        self,
        function: FunctionType,
        cls: type,
        method: str | None,
        attributes: Mapping[Key, str] | None = None,
    ) -> None:
        self.calls: list[SourceCall] = []
        self.definition = functions.definition(function)
        self._function, self._cls, self._attributes = function, cls, attributes or {}
        self._scope = functions.Scope(function)
        self._imports = dict(_imports(self.definition))
        self._method = method
        self._self = next(iter(function.__code__.co_varnames), "") if method else None
        if method and (function.__code__.co_argcount < 1 or self._self_is_bound_again()):
            raise UnreadableError
        self.definition.body = [self.visit(statement) for statement in self.definition.body]

    def _self_is_bound_again(self) -> bool:
        """Whether `self` may stand for another thing somewhere in the method."""
        nodes = [node for statement in self.definition.body for node in ast.walk(statement)]
        names = {node.arg for node in nodes if isinstance(node, ast.arg)} | {
            node.id
            for node in nodes
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
        }
        return self._self in names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if self._call(node) is None:
            return self.generic_visit(node)
        node.args = [self.visit(argument) for argument in node.args]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        if isinstance(node.func, ast.Attribute):
            node.func.value = self.visit(node.func.value)
        call = self._call(node)
        if call is None:
            return node
        return ast.copy_location(self._activation(node, call, node.func.end_lineno), node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._mention(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._mention(node)

    def _mention(self, node: ast.Name | ast.Attribute) -> ast.AST:
        """Treat a function that is not called here, but passed on or given another name."""
        call = spellings.read(self._value(node), [None], {})
        if call is None or not isinstance(node.ctx, ast.Load):
            return self.generic_visit(node)
        return ast.copy_location(self._activation(node, call, node.end_lineno), node)

    def _activation(self, node: ast.expr, call: spellings.Call, line: int | None) -> ast.expr:
        key = Key(self._method, len(self.calls), call.spelling) if self._method else None
        place = Place(self._function.__code__.co_filename, line or 0, call.family)
        self.calls.append(SourceCall(call, place, key))
        if key is None or key not in self._attributes:
            return node
        owner = ast.Name(str(self._self), ast.Load())
        activation = ast.Attribute(owner, self._attributes[key], ast.Load())
        if call.input is None:
            return activation
        if call.is_clamp:
            function = ast.Attribute(owner, FLOATING_ONLY, ast.Load())
            return ast.Call(function, [activation, call.input], [])
        return ast.Call(activation, [call.input], [])

    def _call(self, node: ast.Call) -> spellings.Call | None:
        """Return what a call computes, None if it is no activation or cannot be told."""
        keywords = {str(keyword.arg): self._constant(keyword.value) for keyword in node.keywords}
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            return None
        function = self._value(node.func)
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
        """Return what a dotted name stands for, UNKNOWN where that is not fixed."""
        value = UNKNOWN
        if isinstance(node, ast.Name):
            value = self._imports.get(node.id, self._scope[node.id])
        elif isinstance(node, ast.Attribute):
            holder = self._value(node.value)
            if isinstance(node.value, ast.Name) and node.value.id == self._self:
                value = _static_method(self._cls, node.attr)
            elif isinstance(holder, (ModuleType, type)):
                value = getattr(holder, node.attr, UNKNOWN)
        return value if isinstance(value, _USEFUL) else UNKNOWN


def _imports(definition: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    """Yield the names that a function imports itself, and what they stand for."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Import):
            for name in node.names:
                module = name.name if name.asname else name.name.split(".")[0]
                yield name.asname or module, sys.modules.get(module, UNKNOWN)
        elif isinstance(node, ast.ImportFrom):
            holder = sys.modules.get(node.module or "")
            for name in node.names:
                yield name.asname or name.name, getattr(holder, name.name, UNKNOWN)
