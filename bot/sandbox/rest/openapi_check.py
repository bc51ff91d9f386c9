"""Validates requests and responses against Discord's official OpenAPI document."""

import copy
import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from bot.sandbox.wire import ApiError, Json

logger = logging.getLogger(__name__)

# Requests may carry ids as numbers; Discord accepts both.
_ID_IN_REQUEST: Json = {"type": ["string", "integer"]}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One path or query parameter."""

    name: str
    is_in_path: bool
    kind: str
    schema: Draft202012Validator

    def problem(self, text: str) -> Json | None:
        """Return the field error for a value, or None if it is valid."""
        value = _coerced(self.kind, text)
        error = next(self.schema.iter_errors(value), None)
        return None if error is None else _explain(error)


@dataclass(frozen=True, slots=True)
class Operation:
    """Validators for one route's parameters, body and responses."""

    name: str
    body: Draft202012Validator | None
    parameters: tuple[Parameter, ...]
    body_required: bool
    responses: dict[int, Draft202012Validator | None]


class Description:
    """Operations by method and path template, compiled on first use."""

    def __init__(self, document: Json) -> None:
        self._answers: Json = document["components"]["schemas"]
        requests = copy.deepcopy(self._answers)
        requests["SnowflakeType"] = _ID_IN_REQUEST
        self._requests = requests
        self._paths: Json = document["paths"]
        self._operations: dict[tuple[str, str], Operation] = {}

    def operation(self, method: str, template: str) -> Operation:
        """Return the operation.

        Raises:
            KeyError: The document has no such route.
        """
        key = (method, template)
        if key not in self._operations:
            self._operations[key] = self._build(method, template)
        return self._operations[key]

    def _build(self, method: str, template: str) -> Operation:
        described: Json = self._paths[template][method.lower()]
        body: Json = described.get("requestBody", {})
        schema = body.get("content", {}).get("application/json", {}).get("schema")
        return Operation(
            name=f"{method} {template}",
            body=_validator(schema, self._requests),
            parameters=tuple(self._parameter(one) for one in described.get("parameters", [])),
            body_required=bool(body.get("required")),
            responses={
                int(status): _validator(_schema_of(answer), self._answers)
                for status, answer in described["responses"].items()
            },
        )

    def _parameter(self, described: Json) -> Parameter:
        # Path ids are text, so the stricter response schema applies.
        schema: Json = described["schema"]
        validator = _validator(schema, self._answers) or Draft202012Validator(True)
        is_in_path = described["in"] == "path"
        return Parameter(described["name"], is_in_path, _kind_of(schema), validator)


def _kind_of(schema: Json) -> str:
    kinds: Any = schema.get("type", "string")
    return str(kinds if isinstance(kinds, str) else kinds[0])


def _coerced(kind: str, text: str) -> Any:
    if kind == "boolean":
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    is_number = kind == "integer" and text.removeprefix("-").isdecimal()
    return int(text) if is_number else text


def _schema_of(answer: Json) -> Json | None:
    return answer.get("content", {}).get("application/json", {}).get("schema")


def _validator(schema: Json | None, schemas: Json) -> Draft202012Validator | None:
    if schema is None:
        return None
    return Draft202012Validator({**schema, "components": {"schemas": schemas}})


@cache
def official() -> Description:
    """Return the part of Discord's document that the sandbox implements."""
    path = files("bot.sandbox").joinpath("openapi/discord.json")
    return Description(json.loads(path.read_text("utf-8")))


def check_parameters(operation: Operation, path: dict[str, str], query: dict[str, str]) -> None:
    """Raise error 50035 for an invalid path or query value."""
    errors: Json = {}
    for parameter in operation.parameters:
        given = (path if parameter.is_in_path else query).get(parameter.name)
        if given is not None and (problem := parameter.problem(given)):
            _insert(errors, [parameter.name], problem)
    if errors:
        raise ApiError(400, 50035, "Invalid Form Body", errors)


def check_request(operation: Operation, body: Any) -> None:
    """Raise error 50035 for a body that breaks the schema."""
    if operation.body is None:
        return
    if body is None and not operation.body_required:
        return
    errors: Json = {}
    for error in operation.body.iter_errors(body):
        for leaf in _leaves(error):
            _insert(errors, [str(part) for part in leaf.absolute_path], _explain(leaf))
    if errors:
        raise ApiError(400, 50035, "Invalid Form Body", errors)


def check_response(operation: Operation, status: int, body: Any) -> str | None:
    """Return how a sandbox response breaks the schema, or None."""
    if status not in operation.responses:
        return f"{operation.name} returns undocumented status {status}."
    validator = operation.responses[status]
    if validator is None or body is None:
        return None
    for error in validator.iter_errors(body):
        leaf = _leaves(error)[0]
        return f"{operation.name}: {leaf.json_path}: {leaf.message[:300]}"
    return None


def _leaves(error: ValidationError) -> list[ValidationError]:
    """Return the innermost errors; for a union, those of the closest variant."""
    context = list(error.context or ())
    if not context:
        return [error]
    variants: dict[Any, list[ValidationError]] = {}
    for child in context:
        variants.setdefault(child.schema_path[0], []).append(child)
    meant = min(variants.values(), key=_distance)
    return [leaf for child in meant for leaf in _leaves(child)]


def _distance(errors: list[ValidationError]) -> tuple[int, int]:
    # A mismatched `type` field or JSON type means the sender meant another variant.
    is_other = sum(_is_other_variant(error) for error in errors)
    return is_other, len(errors)


def _is_other_variant(error: ValidationError) -> bool:
    path = list(error.relative_path)
    if not path:
        return error.validator == "type"
    return path == ["type"] and error.validator in ("enum", "oneOf", "const")


def _insert(tree: Json, path: list[str], problem: Json) -> None:
    for part in path:
        tree = tree.setdefault(part, {})
    tree.setdefault("_errors", []).append(problem)


def _explain(error: ValidationError) -> Json:
    limit = error.validator_value
    texts = {
        "maxLength": ("BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length."),
        "minLength": ("BASE_TYPE_BAD_LENGTH", f"Must be at least {limit} in length."),
        "maxItems": ("BASE_TYPE_BAD_LENGTH", f"Must be {limit} or fewer in length."),
        "minItems": ("BASE_TYPE_BAD_LENGTH", f"Must be at least {limit} in length."),
        "required": ("BASE_TYPE_REQUIRED", "This field is required: " + error.message),
        "enum": ("BASE_TYPE_CHOICES", f"Value must be one of {limit}."),
        "maximum": ("NUMBER_TYPE_MAX", f"Value should be less than or equal to {limit}."),
        "minimum": ("NUMBER_TYPE_MIN", f"Value should be greater than or equal to {limit}."),
    }
    code, message = texts.get(str(error.validator), ("BASE_TYPE_INVALID", error.message[:200]))
    return {"code": code, "message": message}
