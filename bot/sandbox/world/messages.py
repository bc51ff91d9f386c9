"""The message store, and the message rules that the OpenAPI schema does not express."""

import re
from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.wire import (
    COMPONENTS_V2,
    LOADING,
    SILENT,
    SUPPRESS_EMBEDS,
    ApiError,
    Json,
    inner,
    invalid,
    isoformat,
    known,
    objects,
    unknown,
)
from bot.sandbox.world import permissions
from bot.sandbox.world.archive import WorldArchive
from bot.sandbox.world.attachments import Attachments, FilePart
from bot.sandbox.world.components import check_components, numbered, texts_of
from bot.sandbox.world.world import Changes, World

MAX_CONTENT = 2000
MAX_EMBED_TOTAL = 6000
MAX_FILES = 10
_NOT_MODELLED = ("poll", "sticker_ids", "shared_client_theme")
_USER, _ROLE = re.compile(r"<@!?(\d+)>"), re.compile(r"<@&(\d+)>")
_LINK_SCHEMES = ("http://", "https://")
_SENDABLE_FLAGS = SUPPRESS_EMBEDS | SILENT | COMPONENTS_V2


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
    parts += [inner(embed, "footer").get("text"), inner(embed, "author").get("name")]
    for one in objects(embed.get("fields")):
        parts += [one["name"], one["value"]]
    return sum(len(part.strip()) for part in parts if part)


def _check_links(path: str, embed: Json) -> None:
    links = {f"{key}.url": inner(embed, key).get("url") for key in ("image", "thumbnail")}
    for key, url in {"url": embed.get("url"), **links}.items():
        schemes = _LINK_SCHEMES if key == "url" else (*_LINK_SCHEMES, "attachment://")
        if url and not url.startswith(schemes):
            text = f'Scheme "{url.split(":")[0]}" is not supported. Must be one of {schemes}.'
            raise invalid(f"{path}.{key}", "URL_TYPE_INVALID_SCHEME", text)


def _check_allowed_mentions(allowed: Json) -> None:
    for key in ("users", "roles"):
        if allowed.get(key) and key in (allowed.get("parse") or []):
            text = f"parse:[{key!r}] and {key}: [ids...] are mutually exclusive."
            raise invalid("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)


def mentions_in(content: str, allowed: Json | None) -> Json:
    """Return the mentions that notify: those in `content` that `allowed` permits."""
    users = list(dict.fromkeys(_USER.findall(content)))
    roles = list(dict.fromkeys(_ROLE.findall(content)))
    everyone = "@everyone" in content or "@here" in content
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDraft:
    """A message to create: the sender's body plus what the server adds."""

    channel: Json
    author_id: str
    body: Json
    uploads: dict[int, FilePart] = field(default_factory=dict[int, FilePart])
    flags: int = 0
    ephemeral_for: str | None = None
    extra: Json = field(default_factory=dict[str, Any])


class Messages:
    """All messages by id; ephemeral ones do not survive a restart."""

    def __init__(
        self, archive: WorldArchive, world: World, attachments: Attachments, changes: Changes
    ) -> None:
        self._archive, self._world = archive, world
        self._attachments, self._changes = attachments, changes
        self._all = archive.all("message")

    def create(self, draft: MessageDraft) -> Json:
        """Validate, store and announce a message; return its record."""
        body = draft.body
        flags = draft.flags | ((body.get("flags") or 0) & _SENDABLE_FLAGS)
        check_message(body, flags=flags)
        message: Json = {"id": self._world.ids.next(), "channel_id": draft.channel["id"]}
        message |= {"author_id": draft.author_id, "type": 0, "flags": flags}
        message |= {"timestamp": self._world.now(), "edited_timestamp": None, "pinned": False}
        message |= {"content": "", "embeds": [], "components": [], "attachment_ids": []}
        message |= {"tts": bool(body.get("tts")), "ephemeral_for": draft.ephemeral_for}
        message |= {"guild_id": draft.channel.get("guild_id"), "nonce": body.get("nonce")}
        message |= mentions_in("", None) | draft.extra
        self._write(message, body, draft.uploads)
        if not flags & LOADING:
            check_not_empty(message)
        self._all[message["id"]] = message
        self._note_newest(draft.channel, message)
        self._save(message)
        self._changes.publish("message_create", message)
        return message

    def edit(
        self, message: Json, body: Json, uploads: dict[int, FilePart], *, is_answer: bool = False
    ) -> Json:
        """Update the fields in `body`; filling a deferred answer does not count as an edit."""
        draft = message | {"flags": message["flags"] & ~LOADING if is_answer else message["flags"]}
        if body.get("flags") is not None:
            kept = draft["flags"] & ~_SENDABLE_FLAGS
            draft["flags"] = kept | (body["flags"] & _SENDABLE_FLAGS)
        check_message(body, flags=draft["flags"])
        self._write(draft, body, uploads)
        check_not_empty(draft)
        if not is_answer:
            draft["edited_timestamp"] = self._world.now()
        message.update(draft)
        self.touch(message)
        return message

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._all

    def touch(self, message: Json) -> None:
        """Store and announce a record that was changed in place."""
        self._save(message)
        self._changes.publish("message_update", message)

    def delete(self, message: Json) -> None:
        self._all.pop(message["id"], None)
        self._archive.delete("message", message["id"])
        self._changes.publish("message_delete", message)

    def get(self, channel_id: str, message_id: str) -> Json:
        """Return a non-ephemeral message of a channel; raise the API's 404 if there is none."""
        found = self.find(message_id)
        if found["channel_id"] != channel_id or found["ephemeral_for"]:
            raise unknown("Message")
        return found

    def find(self, message_id: str) -> Json:
        """Return a message, even an ephemeral one; raise the API's 404 if it does not exist."""
        return known("Message", self._all.get(message_id))

    def listed(self, channel_id: str) -> list[Json]:
        """Return the non-ephemeral messages of a channel, oldest first."""
        return [m for m in self.seen_by(None, {channel_id}) if not m["ephemeral_for"]]

    def seen_by(self, user_id: str | None, channel_ids: set[str]) -> list[Json]:
        """Return the messages in these channels that a user can see, oldest first.

        If `user_id` is None, return those that everyone can see.
        """
        return [
            message
            for message in self._all.values()
            if message["channel_id"] in channel_ids and message["ephemeral_for"] in (None, user_id)
        ]

    def _save(self, message: Json) -> None:
        if not message["ephemeral_for"]:
            self._archive.put("message", message)

    def _note_newest(self, channel: Json, message: Json) -> None:
        if message["ephemeral_for"]:
            return
        channel["last_message_id"] = message["id"]
        if "message_count" in channel:
            channel["message_count"] += 1
        self._world.save_channel(channel)

    def _write(self, message: Json, body: Json, uploads: dict[int, FilePart]) -> None:
        if "content" in body:
            message["content"] = (body["content"] or "").strip()
        if "embeds" in body:
            message["embeds"] = [_clean_embed(embed) for embed in objects(body["embeds"])]
        if "components" in body:
            message["components"] = numbered(body["components"] or [])
        if {"content", "components", "allowed_mentions"} & set(body):
            texts = [message["content"], *texts_of(message["components"])]
            named = mentions_in("\n".join(texts), body.get("allowed_mentions"))
            message |= self._permitted(message, named)
        if "attachments" in body or uploads:
            message["attachment_ids"] = self._attach(message, body.get("attachments"), uploads)

    def _permitted(self, message: Json, named: Json) -> Json:
        """Drop the mentions that the author has no permission to make."""
        channel = self._world.channel(message["channel_id"])
        bits = self._world.permissions(message["author_id"], channel)
        if "guild_id" not in channel or bits & permissions.MENTION_EVERYONE:
            return named
        roles = self._world.guild(channel["guild_id"])["roles"]
        open_roles = {role["id"] for role in roles if role["mentionable"]}
        kept = [role for role in named["mention_roles"] if role in open_roles]
        return named | {"mention_roles": kept, "mention_everyone": False}

    def _attach(
        self, message: Json, listed: list[Json] | None, uploads: dict[int, FilePart]
    ) -> list[str]:
        if any(upload.is_too_large for upload in uploads.values()):
            raise ApiError(413, 40005, "Request entity too large")
        kept: list[str] = [] if listed is not None else list(message["attachment_ids"])
        described: dict[int, str | None] = dict.fromkeys(uploads)
        for index, entry in enumerate(listed or []):
            reference = str(entry["id"])
            if reference in message["attachment_ids"]:
                kept.append(reference)
            elif reference.isdigit() and int(reference) in uploads:
                described[int(reference)] = entry.get("description")
            else:
                text = "The attachment was not found in the request's files."
                raise invalid(f"attachments.{index}.id", "ATTACHMENT_NOT_FOUND", text)
        if len(kept) + len(uploads) > MAX_FILES:
            raise invalid("files", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
        for number, upload in uploads.items():
            description = described[number]
            stored = self._attachments.store(upload, message["channel_id"], description=description)
            kept.append(stored["id"])
        return kept


def _clean_embed(embed: Json) -> Json:
    shown = {key: value for key, value in embed.items() if value is not None}
    shown["type"] = "rich"
    if "fields" in shown:
        fields: list[Json] = shown["fields"]
        shown["fields"] = [{"inline": False} | one for one in fields]
    if "timestamp" in shown and isinstance(shown["timestamp"], int | float):
        shown["timestamp"] = isoformat(shown["timestamp"])
    return shown
