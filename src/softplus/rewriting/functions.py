"""Python functions taken apart and put together again: their names, source, code and decorators."""

import __future__

import ast
import copy
import functools
import inspect
import linecache
import sys
import zlib
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType
from typing import Any, TypeGuard

UNKNOWN = object()


class UnreadableError(Exception):
    """The source of a function is not there, or is not what runs, or cannot be written anew."""


def is_users(thing: object) -> TypeGuard[FunctionType]:
    """Whether it is a function in Python, and not of torch, this package or Python itself.

    The modules of torch.ao.nn count as the user's: one of them has a method that computes a ReLU.
    """
    return isinstance(thing, FunctionType) and (
        package(thing) not in {"torch", "softplus", *sys.stdlib_module_names}
        or str(innermost(thing).__module__).startswith("torch.ao.nn.")
    )


def package(function: FunctionType) -> str:
    """Return the name of the package that a function comes from."""
    return str(innermost(function).__module__).split(".")[0]


def innermost(function: FunctionType) -> FunctionType:
    """Return the function under its decorators."""
    inner = inspect.unwrap(function)
    return inner if isinstance(inner, FunctionType) else function


def defaults(function: FunctionType) -> list[Any]:
    """Return the defaults of its parameters."""
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of every function inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


class Scope:
    """What the names in a function stand for; for its variables, which change, UNKNOWN."""

    def __init__(self, function: FunctionType) -> None:
        inside = list(codes(function.__code__))
        self.names = {name for code in inside for name in code.co_names + code.co_freevars}
        self._globals = function.__globals__
        self._variables = {name for code in inside for name in code.co_varnames + code.co_cellvars}
        self._closure = _closure(function)

    def __getitem__(self, name: str) -> Any:
        if name in self._variables:
            return UNKNOWN
        if name in self._closure:
            return _contents(self._closure[name])
        return self._globals.get(name, UNKNOWN)


def definition(function: FunctionType) -> ast.FunctionDef:
    """Return the definition of a function, parsed from its source.

    Raises:
        UnreadableError: There is no source, or it does not compile to what the function runs: the
            file was changed since, or something rewrote the function.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    try:
        definitions, running = _file(code.co_filename, "".join(lines))
    except (SyntaxError, ValueError) as error:
        raise UnreadableError from error
    found = definitions.get((code.co_name, code.co_firstlineno))
    if found is None or _what_runs(code) not in running:
        raise UnreadableError
    found = copy.deepcopy(found)
    found.decorator_list = []
    return found


def binds(definition: ast.FunctionDef, name: str) -> bool:
    """Whether a name may stand for another thing somewhere in a definition than at its start."""
    nodes = [node for statement in definition.body for node in ast.walk(statement)]
    return any(
        (isinstance(node, ast.arg) and node.arg == name)
        or (isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load))
        for node in nodes
    )


def imports(definition: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
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


def redefined(function: FunctionType, definition: ast.FunctionDef) -> FunctionType:
    """Return the function with another definition: each line still at its place in the file.

    What asks for its source, as `inspect` and TorchScript do, gets that of the new definition.

    Raises:
        UnreadableError: The definition cannot be written as source.
    """
    tree = ast.fix_missing_locations(_in_place(function, definition))
    try:
        source = ast.unparse(tree)
    except ValueError as error:
        raise UnreadableError from error
    file = f"<converted {function.__qualname__} {zlib.crc32(source.encode()):x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    cells = _closure(function)
    new = _renewed(function, _code(function, tree, function.__code__.co_filename), cells)
    shown = _renewed(function, _code(function, ast.parse(source), file), cells)
    functools.update_wrapper(shown, function)
    del vars(shown)["__wrapped__"]
    functools.update_wrapper(new, shown)
    return new


def redecorated(function: FunctionType, new: FunctionType) -> FunctionType:
    """Return the decorators of a function around a new one.

    Raises:
        UnreadableError: A decorator does not hold what it decorates in its closure.
    """
    decorated = getattr(function, "__wrapped__", None)
    if decorated is None:
        return new
    inside = redecorated(decorated, new)
    cells = {
        name: CellType(inside) if _contents(cell) is decorated else cell
        for name, cell in _closure(function).items()
    }
    if inside not in map(_contents, cells.values()):
        raise UnreadableError
    outside = _renewed(function, function.__code__, cells)
    vars(outside).update(vars(function))
    functools.update_wrapper(outside, inside, updated=())
    return outside


def _renewed(function: FunctionType, code: CodeType, cells: dict[str, CellType]) -> FunctionType:
    closure = tuple(cells[name] for name in code.co_freevars)
    defaults, name = function.__defaults__, function.__name__
    new = FunctionType(code, function.__globals__, name, defaults, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    return new


def _closure(function: FunctionType) -> dict[str, CellType]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return UNKNOWN


def _in_place(function: FunctionType, definition: ast.FunctionDef) -> ast.Module:
    """Return the definition where it finds its class and its closure: for super() and __names."""
    free = [name for name in function.__code__.co_freevars if name != "__class__"]
    holder = function.__qualname__.split(".")[-2:-1]
    name = holder[0] if holder and holder[0].isidentifier() else "_"
    # Where the method speaks of its class, as super(Net, self) does, it means the global.
    ours = "" if name in free else f" global {name}\n"
    tree = ast.parse(f"def _({', '.join(free)}):\n{ours} class {name}:\n  pass")
    outer: Any = tree.body[0]
    outer.body[-1].body = [definition]
    return tree


def _code(function: FunctionType, tree: ast.Module, file: str) -> CodeType:
    flags = function.__code__.co_flags & __future__.annotations.compiler_flag
    code: CodeType = compile(tree, file, "exec", flags, dont_inherit=True)
    for name in ("_", None, function.__code__.co_name):
        code = next(
            inner
            for inner in code.co_consts
            if isinstance(inner, CodeType) and name in (inner.co_name, None)
        )
    return code


@functools.lru_cache(maxsize=64)
def _file(
    name: str, source: str
) -> tuple[dict[tuple[str, int], ast.FunctionDef], list[tuple[Any, ...]]]:
    """Return the definitions in a file, by name and first line, and what its functions run."""
    tree = ast.parse(source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    definitions = {
        (node.name, min([node.lineno, *(each.lineno for each in node.decorator_list)])): node
        for node in nodes
    }
    # How a call compiles depends on what is imported beside it: in the whole file, or in a single
    # statement, as notebooks compile their cells.
    trees = [tree, *(ast.Module([statement], []) for statement in tree.body)]
    compiled = [compile(each, name, "exec", dont_inherit=True) for each in trees]
    return definitions, [_what_runs(code) for each in compiled for code in codes(each)]


def _what_runs(code: CodeType) -> tuple[Any, ...]:
    constants = [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
    return code.co_firstlineno, code.co_qualname, code.co_code, code.co_names, constants
