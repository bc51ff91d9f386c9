"""Message components and modals: lookup, defaults and Discord's rules."""

from collections.abc import Iterator
from typing import Any

from bot.sandbox.wire import Json, invalid, objects

ACTION_ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
SELECTS = (STRING_SELECT, 5, 6, 7, 8)
MEDIA_GALLERY, FILE, LABEL, FILE_UPLOAD = 12, 13, 18, 19
LINK_STYLE, PREMIUM_STYLE = 5, 6
_MAX_ROWS, _MAX_COMPONENTS, _MAX_V2_TEXT = 5, 40, 4000


def walk(components: list[Json], path: str) -> Iterator[tuple[str, Json]]:
    """Yield every component, nested ones included, with its path as written in error messages."""
    for index, component in enumerate(components):
        here = f"{path}.{index}"
        yield here, component
        yield from walk(component.get("components") or [], f"{here}.components")
        for key in ("component", "accessory"):
            if nested := component.get(key):
                yield f"{here}.{key}", nested


def find(components: list[Json], custom_id: str) -> Json | None:
    found = (c for _, c in walk(components, "") if c.get("custom_id") == custom_id)
    return next(found, None)


def texts_of(components: list[Json]) -> list[str]:
    """Return the contents of text components, in reading order."""
    return [str(c["content"]) for _, c in walk(components, "") if c.get("content")]


def numbered(components: list[Json]) -> list[Json]:
    """Return components as the API returns them: with ids and defaults, without nulls."""
    taken = {c["id"] for _, c in walk(components, "") if c.get("id")}
    free = (number for number in range(1, 1000) if number not in taken)
    return [_numbered(component, free) for component in components]


def _numbered(component: Json, free: Iterator[int]) -> Json:
    given = {key: value for key, value in component.items() if value is not None}
    result = _DEFAULTS.get(component["type"], {}) | given
    result["id"] = component.get("id") or next(free)
    if "components" in result:
        result["components"] = [_numbered(child, free) for child in result["components"]]
    for key in ("component", "accessory"):
        if key in result:
            result[key] = _numbered(result[key], free)
    if "items" in result:
        result["items"] = [_ITEM_DEFAULTS | item for item in result["items"]]
    return result


# Defaults that the API fills in.
_DEFAULTS: dict[int, Json] = {
    **{kind: {"min_values": 1, "max_values": 1} for kind in SELECTS},
    11: {"description": None, "spoiler": False},
    13: {"spoiler": False},
    14: {"spacing": 1, "divider": True},
    17: {"accent_color": None, "spoiler": False},
}
_ITEM_DEFAULTS: Json = {"description": None, "spoiler": False}


def check_components(components: list[Json], *, is_v2: bool) -> None:
    """Raise error 50035 for components that break a rule missing from the OpenAPI schema."""
    if not is_v2:
        if len(components) > _MAX_ROWS:
            raise invalid(
                "components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length."
            )
        for index, component in enumerate(components):
            if component["type"] != ACTION_ROW:
                text = "Only action rows may be used without the flag IS_COMPONENTS_V2."
                raise invalid(f"components.{index}.type", "UNION_TYPE_CHOICES", text)
    everything = list(walk(components, "components"))
    if len(everything) > _MAX_COMPONENTS:
        raise invalid("components", "COMPONENT_MAX_TOTAL", "Message has more than 40 components.")
    texts = sum(len(c.get("content") or "") for _, c in everything)
    if texts > _MAX_V2_TEXT:
        raise invalid("components", "COMPONENT_TEXT", "Text components exceed 4000 characters.")
    _check_custom_ids(everything)
    for path, component in everything:
        _check_one(path, component)


def _check_custom_ids(everything: list[tuple[str, Json]]) -> None:
    seen: set[str] = set()
    for path, component in everything:
        custom_id = component.get("custom_id")
        if custom_id in seen:
            text = "Component custom id cannot be duplicated"
            raise invalid(f"{path}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", text)
        if custom_id:
            seen.add(custom_id)


def _check_one(path: str, component: Json) -> None:
    kind = component["type"]
    if kind == ACTION_ROW:
        _check_row(path, component)
    elif kind == BUTTON:
        _check_button(path, component)
    elif kind in SELECTS:
        _check_select(path, component)


def _check_row(path: str, row: Json) -> None:
    kinds = [child["type"] for child in row["components"]]
    width = sum(1 if kind == BUTTON else 5 for kind in kinds)
    if width > 5:
        text = "This row is too wide: use at most five buttons, one select or one input."
        raise invalid(f"{path}.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", text)


def _check_button(path: str, button: Json) -> None:
    if button["style"] == PREMIUM_STYLE:
        raise invalid(f"{path}.style", "BASE_TYPE_CHOICES", "Premium buttons need a SKU.")
    needed, barred = "custom_id", "url"
    if button["style"] == LINK_STYLE:
        needed, barred = barred, needed
    if not button.get(needed):
        text = f"A button of this style must have {needed}."
        raise invalid(path, "BUTTON_COMPONENT_" + needed.upper() + "_REQUIRED", text)
    if button.get(barred):
        text = "A custom id and url cannot both be specified"
        raise invalid(path, "BUTTON_COMPONENT_CUSTOM_ID_AND_URL", text)
    if not button.get("label") and not button.get("emoji"):
        text = "A button needs a label or an emoji."
        raise invalid(path, "BUTTON_COMPONENT_INVALID_LABEL", text)


def _check_select(path: str, select: Json) -> None:
    low, high = _bounds(select)
    if low > high:
        text = "min_values must not be greater than max_values."
        raise invalid(f"{path}.min_values", "BASE_TYPE_BAD_LENGTH", text)
    if select["type"] != STRING_SELECT:
        return
    values = [option["value"] for option in select["options"]]
    if len(set(values)) < len(values):
        text = "The specified option value is already used"
        raise invalid(f"{path}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", text)
    if high > len(values):
        text = "max_values must not be greater than the number of options."
        raise invalid(f"{path}.max_values", "BASE_TYPE_BAD_LENGTH", text)


def _bounds(component: Json) -> tuple[int, int]:
    low, high = component.get("min_values"), component.get("max_values")
    return (1 if low is None else low), (1 if high is None else high)


def check_selection(component: Json, values: list[str]) -> str | None:
    """Return why a client would refuse this selection, or None."""
    low, high = _bounds(component)
    is_optional = component.get("required") is False and not values
    if not is_optional and not low <= len(values) <= high:
        return f"Choose {low} to {high} values, not {len(values)}."
    if component["type"] in (STRING_SELECT, 21, 22):
        allowed = {option["value"] for option in objects(component.get("options"))}
        if missing := [value for value in values if value not in allowed]:
            return f"'{missing[0]}' is not one of the options."
    return None


def inputs_of(modal: Json) -> list[Json]:
    return [c for _, c in walk(modal["components"], "components") if c.get("custom_id")]


def check_modal(modal: Json) -> None:
    """Raise error 50035 for a modal that a client could not show."""
    top: list[Any] = modal["components"]
    if len(top) > _MAX_ROWS:
        text = "Must be between 1 and 5 in length."
        raise invalid("data.components", "BASE_TYPE_BAD_LENGTH", text)
    everything = list(walk(top, "data.components"))
    _check_custom_ids(everything)
    for path, component in everything:
        _check_one(path, component)
        if component["type"] == TEXT_INPUT and len(component.get("value") or "") > 4000:
            raise invalid(
                f"{path}.value", "BASE_TYPE_MAX_LENGTH", "Must be 4000 or fewer in length."
            )
