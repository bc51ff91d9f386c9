"""The message store."""

from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.wire import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    SILENT,
    SUPPRESS_EMBEDS,
    ApiError,
    Json,
    invalid,
    isoformat,
    objects,
    unknown,
)
from bot.sandbox.world import permissions
from bot.sandbox.world.archive import WorldArchive
from bot.sandbox.world.attachments import Attachments, FilePart
from bot.sandbox.world.changes import Changes
from bot.sandbox.world.components import numbered
from bot.sandbox.world.message_rules import MAX_FILES, check_message, check_not_empty, mentions_in
from bot.sandbox.world.world import World

_SENDABLE_FLAGS = SUPPRESS_EMBEDS | SILENT | COMPONENTS_V2


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
        self._save(message)
        self._changes.publish("message_update", message)
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
        """Return a non-ephemeral message of a channel; raises the API's 404."""
        found = self._all.get(message_id)
        if found is None or found["channel_id"] != channel_id or found["ephemeral_for"]:
            raise unknown("Message")
        return found

    def find(self, message_id: str) -> Json:
        """Return any message, ephemeral ones included; raises the API's 404."""
        if found := self._all.get(message_id):
            return found
        raise unknown("Message")

    def listed(self, channel_id: str) -> list[Json]:
        """Return the non-ephemeral messages of a channel, oldest first."""
        return [m for m in self.seen_by(None, {channel_id}) if not m["ephemeral_for"]]

    def seen_by(self, user_id: str | None, channel_ids: set[str]) -> list[Json]:
        """Return what a user sees in these channels, oldest first."""
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
        if "content" in body or "allowed_mentions" in body:
            named = mentions_in(message["content"], body.get("allowed_mentions"))
            message |= self._permitted(message, named)
        if "embeds" in body:
            message["embeds"] = [_clean_embed(embed) for embed in objects(body["embeds"])]
        if "components" in body:
            message["components"] = numbered(body["components"] or [])
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
        refuse_large(uploads)
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


def refuse_large(uploads: dict[int, FilePart]) -> None:
    """Raise error 40005 for a file over 10 MiB."""
    if any(upload.is_too_large for upload in uploads.values()):
        raise ApiError(413, 40005, "Request entity too large")


def _clean_embed(embed: Json) -> Json:
    shown = {key: value for key, value in embed.items() if value is not None}
    shown["type"] = "rich"
    if "fields" in shown:
        fields: list[Json] = shown["fields"]
        shown["fields"] = [{"inline": False} | one for one in fields]
    if "timestamp" in shown and isinstance(shown["timestamp"], int | float):
        shown["timestamp"] = isoformat(shown["timestamp"])
    return shown


def is_ephemeral(message: Json) -> bool:
    """Whether only one person sees the message."""
    return bool(message["flags"] & EPHEMERAL)
