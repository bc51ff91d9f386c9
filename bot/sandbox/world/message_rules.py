"""Message rules that the OpenAPI schema does not express, and mention parsing."""

from typing import Any

from bot.sandbox.wire import COMPONENTS_V2, ApiError, Json, inner, invalid, mentioned, objects
from bot.sandbox.world.components import check_components

MAX_CONTENT = 2000
MAX_EMBED_TOTAL = 6000
MAX_FILES = 10
_NOT_MODELLED = ("poll", "sticker_ids", "shared_client_theme")
_LINK_SCHEMES = ("http://", "https://")


def check_message(body: Json, *, flags: int) -> None:
    """Raise the error Discord gives for an invalid message body."""
    content = body.get("content") or ""
    if len(content) > MAX_CONTENT:
        text = f"Must be {MAX_CONTENT} or fewer in length."
        raise invalid("content", "BASE_TYPE_MAX_LENGTH", text)
    _check_embeds(body.get("embeds") or [])
    _check_allowed_mentions(body.get("allowed_mentions") or {})
    is_v2 = bool(flags & COMPONENTS_V2)
    if is_v2 and (content or body.get("embeds")):
        text = "The 'content' and 'embeds' fields cannot be used with IS_COMPONENTS_V2."
        raise invalid("flags", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)
    check_components(body.get("components") or [], is_v2=is_v2)
    for key in _NOT_MODELLED:
        if body.get(key):
            raise invalid(key, "NOT_MODELLED", "The sandbox does not model this field.")


def check_not_empty(message: Json) -> None:
    """Raise error 50006 for a message without any visible part."""
    if not any(message[key] for key in ("content", "embeds", "components", "attachment_ids")):
        raise ApiError(400, 50006, "Cannot send an empty message")


def _check_embeds(embeds: list[Json]) -> None:
    if sum(_embed_length(embed) for embed in embeds) > MAX_EMBED_TOTAL:
        text = f"Embed size exceeds maximum size of {MAX_EMBED_TOTAL}"
        raise invalid("embeds", "MAX_EMBED_SIZE_EXCEEDED", text)
    for index, embed in enumerate(embeds):
        _check_links(f"embeds.{index}", embed)
        for number, one in enumerate(objects(embed.get("fields"))):
            for key in ("name", "value"):
                if not one[key].strip():
                    path = f"embeds.{index}.fields.{number}.{key}"
                    raise invalid(path, "BASE_TYPE_REQUIRED", "This field is required")


def _embed_length(embed: Json) -> int:
    parts: list[Any] = [embed.get("title"), embed.get("description")]
    parts.append((embed.get("footer") or {}).get("text"))
    parts.append((embed.get("author") or {}).get("name"))
    for field in objects(embed.get("fields")):
        parts += [field["name"], field["value"]]
    return sum(len(part.strip()) for part in parts if part)


def _check_links(path: str, embed: Json) -> None:
    links: dict[str, tuple[str | None, tuple[str, ...]]] = {}
    links["url"] = embed.get("url"), _LINK_SCHEMES
    for key in ("image", "thumbnail"):
        url = inner(embed, key).get("url")
        links[f"{key}.url"] = (url, (*_LINK_SCHEMES, "attachment://"))
    for key, (url, schemes) in links.items():
        if url and not url.startswith(schemes):
            text = f'Scheme "{url.split(":")[0]}" is not supported. Must be one of {schemes}.'
            raise invalid(f"{path}.{key}", "URL_TYPE_INVALID_SCHEME", text)


def _check_allowed_mentions(allowed: Json) -> None:
    for key in ("users", "roles"):
        if allowed.get(key) and key in (allowed.get("parse") or []):
            text = f"parse:[{key!r}] and {key}: [ids...] are mutually exclusive."
            raise invalid("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)


def mentions_in(content: str, allowed: Json | None) -> Json:
    """Return who is notified: mentioned in the content and allowed by `allowed`."""
    users, roles, everyone = mentioned(content)
    if allowed is not None:
        parse: list[str] = allowed.get("parse") or []
        users = _allowed(users, allowed, "users", parse)
        roles = _allowed(roles, allowed, "roles", parse)
        everyone = everyone and "everyone" in parse
    return {"mentions": users, "mention_roles": roles, "mention_everyone": everyone}


def _allowed(named: list[str], allowed: Json, key: str, parse: list[str]) -> list[str]:
    if key in parse:
        return named
    given: list[Any] = allowed.get(key) or []
    ids = {str(one) for one in given}
    return [one for one in named if one in ids]
