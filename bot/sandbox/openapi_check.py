"""Validates requests and responses against Discord's official OpenAPI document."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from bot.sandbox.wire import ApiError, Json

# In requests, Discord accepts ids as strings or as numbers.
_ID_IN_REQUEST: Json = {"type": ["string", "integer"]}
_ONE_OF: Any = Draft202012Validator.VALIDATORS["oneOf"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One path or query parameter."""

    name: str
    is_in_path: bool
    kind: str
    schema: Draft202012Validator

    def problem(self, text: str) -> Json | None:
        """Return the API's error about the value `text`; None if the value is valid."""
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


@cache
def operation(method: str, template: str) -> Operation:
    """Return the operation of a route that the sandbox implements.

    Raises:
        KeyError: The document has no such route.
    """
    described: Json = official()["paths"][template][method.lower()]
    body: Json = described.get("requestBody", {})
    return Operation(
        name=f"{method} {template}",
        body=_validator(_schema_of(body), of_request=True),
        parameters=tuple(_parameter(one) for one in described.get("parameters", [])),
        body_required=bool(body.get("required")),
        responses={
            int(status): _validator(_schema_of(answer), of_request=False)
            for status, answer in described["responses"].items()
        },
    )


@cache
def official() -> Json:
    """Return the part of Discord's document that the sandbox implements."""
    return json.loads(files("bot.sandbox").joinpath("openapi/discord.json").read_text("utf-8"))


def _schemas() -> Json:
    return official()["components"]["schemas"]


def _parameter(described: Json) -> Parameter:
    # Ids in paths are always text, so use the schemas of responses, which do not accept numbers.
    schema: Json = described["schema"]
    validator = _validator(schema, of_request=False) or Draft202012Validator(True)
    return Parameter(described["name"], described["in"] == "path", _kind_of(schema), validator)


def _kind_of(schema: Json) -> str:
    kinds: Any = schema.get("type", "string")
    return str(kinds if isinstance(kinds, str) else kinds[0])


def _coerced(kind: str, text: str) -> Any:
    if kind == "boolean":
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    is_number = kind == "integer" and text.removeprefix("-").isdecimal()
    return int(text) if is_number else text


def _schema_of(described: Json) -> Json | None:
    return described.get("content", {}).get("application/json", {}).get("schema")


def _validator(schema: Json | None, *, of_request: bool) -> Draft202012Validator | None:
    return None if schema is None else _validator_class(of_request=of_request)(schema)


@cache
def _validator_class(*, of_request: bool) -> type[Draft202012Validator]:
    """Return a class of validators that know the document's schemas and try few variants."""
    schemas = _schemas() | ({"SnowflakeType": _ID_IN_REQUEST} if of_request else {})

    def resolved(schema: Json) -> Json:
        return schemas[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema

    def ref(
        validator: Draft202012Validator, _ref: str, instance: Any, schema: Json
    ) -> Iterator[ValidationError]:
        return validator.descend(instance, resolved(schema))

    def one_of(
        validator: Draft202012Validator, variants: list[Json], instance: Any, schema: Json
    ) -> Iterator[ValidationError]:
        # Unions of up to 13 variants nest three deep: trying them all would take most of the
        # sandbox's time.
        meant = [one for one in variants if not _is_other(validator, resolved(one), instance)]
        if len(meant) != 1 or next(validator.descend(instance, meant[0]), None):
            yield from _ONE_OF(validator, variants, instance, schema)

    extend = cast("Any", validators.extend)
    return extend(Draft202012Validator, {"$ref": ref, "oneOf": one_of})


def _is_other(validator: Draft202012Validator, variant: Json, instance: Any) -> bool:
    """Return whether the JSON type, constant or `type` field alone makes `variant` invalid."""
    kinds = variant.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(validator.is_type(instance, kind) for kind in kinds):
        return True
    if "const" in variant:
        return instance != variant["const"]
    types = variant.get("properties", {}).get("type", {}).get("enum")
    has_type = isinstance(instance, dict) and "type" in instance
    return has_type and types is not None and instance["type"] not in types


def emptiest(name: str) -> Json:
    """Return the smallest object that fits a schema: required fields, each null, zero or empty."""
    return _emptiest(_schemas()[name])


def _emptiest(schema: Json) -> Any:
    if "$ref" in schema:
        return emptiest(schema["$ref"].rsplit("/", 1)[-1])
    kinds = schema.get("type", [])
    variants = [one.get("type") for one in schema.get("oneOf", [])]
    if "null" in kinds or "null" in variants:
        return None
    if kinds == "object":
        return {key: _emptiest(schema["properties"][key]) for key in schema.get("required", [])}
    zeros: Json = {"boolean": False, "integer": 0, "array": [], "string": ""}
    return zeros[kinds]


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
    """Return how a response of the sandbox breaks the schema; None if it does not."""
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
    # Errors about the `type` field or the JSON type show that the sender meant another variant.
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
