"""The places in musubi-tuner's code that hooks replace; each place is checked first."""

import ast
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The launcher's own option for how training steps are computed.
FAST_OPTION, OFF = "--fast", "off"
MUSUBI_COMMIT = "30c658c4f4b0bf05038b3346eff9670259b10fc7"

_START_VALUES = "_lorabot_start_values"

# Any, because musubi-tuner is not installed where this is type-checked.
Function = Callable[..., Any]


class HookError(Exception):
    """musubi-tuner is not at the commit that the launcher was written for."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(
            f"{where} {what}, so this is not musubi-tuner at commit {MUSUBI_COMMIT}. "
            "Check out that commit in the folder given by LORABOT_MUSUBI_DIR."
        )


@dataclass(frozen=True)
class HookPoint:
    """A function, class, method or import of musubi-tuner to replace; it must take `parameters`."""

    module: str
    path: str
    parameters: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `HookError` if the hook point is missing or has other parameters."""
        self._locate()

    def replace(self, wrap: Callable[[Any], Any]) -> None:
        """Check the hook point, then replace the original with `wrap(original)`."""
        owner, name, original = self._locate()
        setattr(owner, name, wrap(original))

    def _locate(self) -> tuple[Any, str, Any]:
        where = f"{self.module}.{self.path}"
        try:
            found: Any = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or not self.module.startswith(error.name):
                raise
            raise HookError(self.module, "is missing") from error
        owner, name = found, ""
        for name in self.path.split("."):
            owner, found = found, getattr(found, name, None)
            if found is None:
                raise HookError(where, "is missing")
        if self.parameters:
            known = inspect.signature(found).parameters
            lacking = [parameter for parameter in self.parameters if parameter not in known]
            if lacking:
                raise HookError(where, f"takes no {', '.join(lacking)}")
        return owner, name, found


def with_start_values(function: Function, values: Mapping[str, Callable[[], object]]) -> Function:
    """Return a copy of `function` whose loop counters start at values other than 0.

    `values` maps the name of each such variable to a function that returns its start value; that
    function is called when the line that sets the variable runs. The body of `function` must set
    the variable to the constant 0 exactly once, outside loops and conditions.

    Raises:
        HookError: The function does not set one of the variables in that way.
    """
    where = f"{function.__module__}.{function.__qualname__}"
    path = inspect.getsourcefile(function)
    if path is None or function.__code__.co_freevars:
        raise HookError(where, "has no source to patch")
    module = ast.parse(Path(path).read_text(encoding="utf-8"))
    body = _definition(module, function, where)
    for name in values:
        starts = [found for statement in body.body if (found := _start(statement, name))]
        if len(starts) != 1:
            raise HookError(where, f"starts {name} at 0 in {len(starts)} places instead of one")
        call = ast.parse(f"{_START_VALUES}[{name!r}]()", mode="eval").body
        starts[0].value = ast.copy_location(call, starts[0].value)
        ast.fix_missing_locations(starts[0])
    function.__globals__[_START_VALUES] = dict(values)
    scope: dict[str, Any] = {}
    # Keep the file name and line numbers, so that tracebacks point to musubi-tuner's source.
    code = compile(ast.Module(body=[body], type_ignores=[]), path, "exec")
    exec(code, function.__globals__, scope)
    return scope[function.__name__]


def _definition(module: ast.Module, function: Function, where: str) -> ast.FunctionDef:
    line = function.__code__.co_firstlineno
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == line:
                return node
    raise HookError(where, "is not at the line that its code object names")


def _start(statement: ast.stmt, name: str) -> ast.Assign | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=0)) if found == name:
            return statement
        case _:
            return None
