"""REST routes for channels, threads, messages, pins and the typing indicator."""

from bot.sandbox.payloads import channel_payload, thread_member_payload, thread_payload
from bot.sandbox.rest.dispatch import Created, Handlers, RestCall, Route
from bot.sandbox.wire import ApiError, Json, created_at, invalid, unknown
from bot.sandbox.world import permissions
from bot.sandbox.world.messages import MessageDraft
from bot.sandbox.world.threads import archived, check_name
from bot.sandbox.world.world import DM, PRIVATE_THREAD, THREADS, needed_to_send

_MOST_PINS = 250
_NONCE_SECONDS = 300  # within this time, Discord posts only one message with the same nonce
_MESSAGE = "/channels/{channel_id}/messages/{message_id}"


class MessageRoutes(Handlers):
    """Handlers under /channels/{id}/messages, /pins and /typing."""

    def routes(self) -> list[Route]:
        pins, old_pins = "/channels/{channel_id}/messages/pins", "/channels/{channel_id}/pins"
        return [
            Route("POST", "/channels/{channel_id}/messages", self.create),
            Route("GET", "/channels/{channel_id}/messages", self.listed),
            Route("GET", _MESSAGE, self.get),
            Route("PATCH", _MESSAGE, self.edit),
            Route("DELETE", _MESSAGE, self.delete),
            Route("POST", "/channels/{channel_id}/typing", self.typing),
            Route("GET", pins, self.pins),
            Route("GET", old_pins, self.old_pins),
            *(Route("PUT", f"{path}/{{message_id}}", self.pin) for path in (pins, old_pins)),
            *(Route("DELETE", f"{path}/{{message_id}}", self.unpin) for path in (pins, old_pins)),
        ]

    def _message(self, call: RestCall, *needed: int) -> Json:
        channel = self.channel(call, *needed)
        return self.messages.get(channel["id"], call.path["message_id"])

    def create(self, call: RestCall) -> Json:
        body: Json = call.body
        channel = self.world.channel(call.path["channel_id"])
        needed = [needed_to_send(channel)] + [permissions.ATTACH_FILES] * bool(call.uploads)
        self.channel(call, *needed, *[permissions.EMBED_LINKS] * bool(body.get("embeds")))
        if channel["type"] == DM and not self.world.user(channel["recipient"])["dms_open"]:
            raise ApiError(403, 50007, "Cannot send messages to this user")
        if sent := self._sent_before(channel, body):
            return self.views.message(sent)
        self.threads.wake(channel, self.bot_id)
        draft = MessageDraft(
            channel=channel,
            author_id=self.bot_id,
            body=body,
            uploads=call.uploads,
            extra=self._reference(channel, body),
        )
        return self.views.message(self.messages.create(draft))

    def _sent_before(self, channel: Json, body: Json) -> Json | None:
        """Return the message that an earlier request with the same nonce created, if any."""
        nonce = body.get("nonce")
        if nonce is None or not body.get("enforce_nonce"):
            return None
        since = self.world.clock() - _NONCE_SECONDS
        for message in self.messages.listed(channel["id"]):
            if message.get("nonce") == nonce and created_at(message["id"]) > since:
                return message
        return None

    def _reference(self, channel: Json, body: Json) -> Json:
        reference: Json | None = body.get("message_reference")
        if not reference or not reference.get("message_id"):
            return {}
        if not self.world.permissions(self.bot_id, channel) & permissions.READ_HISTORY:
            text = "Cannot reply without permission to read message history"
            raise ApiError(400, 160002, text)
        message_id = str(reference["message_id"])
        known = {m["id"] for m in self.messages.listed(channel["id"])}
        if message_id not in known and reference.get("fail_if_not_exists") is not False:
            raise invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        shown: Json = {"type": 0, "channel_id": channel["id"], "message_id": message_id}
        if "guild_id" in channel:
            shown["guild_id"] = channel["guild_id"]
        return {"message_reference": shown, "type": 19}

    def listed(self, call: RestCall) -> list[Json]:
        """Return the messages that `limit`, `before`, `after` or `around` selects, newest first."""
        channel = self.channel(call)
        bits = self.world.permissions(self.bot_id, channel)
        if not bits & permissions.READ_HISTORY:
            return []  # Discord documents an empty list here, not an error
        limit = int(call.query.get("limit", "50"))
        found = self.messages.listed(channel["id"])
        if before := call.query.get("before"):
            found = [m for m in found if int(m["id"]) < int(before)]
        if after := call.query.get("after"):
            found = [m for m in found if int(m["id"]) > int(after)][:limit]
        if around := call.query.get("around"):
            older = [m for m in found if int(m["id"]) < int(around)]
            found = found[max(0, len(older) - limit // 2) :][:limit]
        return [self.views.message(m) for m in reversed(found[-limit:])]

    def get(self, call: RestCall) -> Json:
        return self.views.message(self._message(call, permissions.READ_HISTORY))

    def edit(self, call: RestCall) -> Json:
        """Edit one of the bot's own messages."""
        message = self._message(call)
        if message["author_id"] != self.bot_id:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        self._require_open(call)
        self.sandbox.limits.take_old_edit(message["channel_id"], message["id"])
        return self.views.message(self.messages.edit(message, call.body, call.uploads))

    def delete(self, call: RestCall) -> None:
        """Delete a message; deleting someone else's needs Manage Messages."""
        message = self._message(call)
        if message["author_id"] != self.bot_id:
            self.channel(call, permissions.MANAGE_MESSAGES)
        self._require_open(call)
        self.messages.delete(message)

    def _require_open(self, call: RestCall) -> None:
        self.threads.require_open(self.channel(call), self.bot_id)

    def typing(self, call: RestCall) -> None:
        channel = self.channel(call, permissions.SEND_MESSAGES)
        record = {"channel_id": channel["id"], "user_id": self.bot_id}
        if "guild_id" in channel:
            record["guild_id"] = channel["guild_id"]
        self.changes.publish("typing", record)

    def pins(self, call: RestCall) -> Json:
        """Return pinned messages, newest pin first."""
        channel = self.channel(call)
        items = [
            {"pinned_at": at, "message": self.views.message(self.messages.find(message_id))}
            for message_id, at in reversed(channel["pins"].items())
        ]
        return {"items": items, "has_more": False}

    def old_pins(self, call: RestCall) -> list[Json]:
        """Return pinned messages in the deprecated format, a plain list."""
        return [item["message"] for item in self.pins(call)["items"]]

    def pin(self, call: RestCall) -> None:
        self._set_pin(call, is_pinned=True)

    def unpin(self, call: RestCall) -> None:
        self._set_pin(call, is_pinned=False)

    def _set_pin(self, call: RestCall, *, is_pinned: bool) -> None:
        message = self._message(call, permissions.PIN_MESSAGES)
        channel = self.channel(call)
        self._require_open(call)
        if is_pinned and len(channel["pins"]) >= _MOST_PINS:
            raise ApiError(400, 30003, f"Maximum number of pins reached ({_MOST_PINS})")
        if is_pinned:
            channel["pins"].setdefault(message["id"], self.world.now())
        else:
            channel["pins"].pop(message["id"], None)
        message["pinned"] = is_pinned
        self.world.save_channel(channel)
        self.messages.touch(message)
        self.changes.publish("pins_update", channel)


class ThreadRoutes(Handlers):
    """Handlers for threads and channels: read, edit, delete, create, join and leave."""

    def routes(self) -> list[Route]:
        channel = "/channels/{channel_id}"
        return [
            Route("GET", channel, lambda call: channel_payload(self.world, self.channel(call))),
            Route("PATCH", channel, self.edit),
            Route("DELETE", channel, self.delete),
            Route("POST", channel + "/threads", self.create),
            Route("POST", channel + "/messages/{message_id}/threads", self.create_from_message),
            Route("GET", channel + "/thread-members", self.members),
            Route("PUT", channel + "/thread-members/@me", self.join),
            Route("DELETE", channel + "/thread-members/@me", self.leave),
            Route("PUT", channel + "/thread-members/{user_id}", self.join),
            Route("DELETE", channel + "/thread-members/{user_id}", self.leave),
            Route("GET", "/guilds/{guild_id}/threads/active", self.active),
        ]

    def edit(self, call: RestCall) -> Json:
        """Rename, archive or lock a thread; other channels are refused.

        Anyone who may write in a thread may unarchive it, unless it is locked.
        """
        thread = self.channel(call)
        if thread["type"] not in THREADS:
            raise ApiError(403, 50013, "Missing Permissions")
        body: Json = call.body
        if thread["locked"] or (thread["owner_id"] != self.bot_id and body != {"archived": False}):
            self.channel(call, permissions.MANAGE_THREADS)
        else:
            self.channel(call, permissions.SEND_IN_THREADS)
        if thread["archived"] and body.get("archived") is not False:
            raise archived()
        if body.get("name") is not None:
            check_name(body["name"])
        known = ("name", "archived", "locked", "auto_archive_duration")
        thread |= {key: body[key] for key in known if body.get(key) is not None}
        thread["archive_timestamp"] = self.world.now()
        self.threads.update(thread)
        return thread_payload(thread)

    def delete(self, call: RestCall) -> Json:
        """Delete a channel or thread; a direct-message channel is kept, as on Discord."""
        channel = self.channel(call)
        shown = channel_payload(self.world, channel)
        if channel["type"] == DM:
            return shown
        self.channel(call, permissions.MANAGE_THREADS)
        self.threads.delete(channel)
        return shown

    def create(self, call: RestCall) -> Created:
        """Create a thread that is not attached to a message."""
        body: Json = call.body
        kind = body.get("type") or PRIVATE_THREAD
        needed = permissions.CREATE_PUBLIC_THREADS
        if kind == PRIVATE_THREAD:
            needed = permissions.CREATE_PRIVATE_THREADS
        parent = self.channel(call, needed)
        thread = self.threads.open(parent, self.world.ids.next(), kind, body, self.bot_id)
        return self._created(thread)

    def create_from_message(self, call: RestCall) -> Created:
        """Create a thread on a message; the thread gets the message's id."""
        parent = self.channel(call, permissions.CREATE_PUBLIC_THREADS)
        message = self.messages.get(parent["id"], call.path["message_id"])
        thread = self.threads.open_on(parent, message, call.body, self.bot_id)
        return self._created(thread)

    def _created(self, thread: Json) -> Created:
        member = thread_member_payload(thread, self.bot_id)
        return Created(thread_payload(thread) | {"member": member})

    def members(self, call: RestCall) -> list[Json]:
        thread = self._thread(call)
        return [thread_member_payload(thread, one) for one in thread["member_ids"]]

    def _who(self, call: RestCall) -> str:
        return call.path.get("user_id") or self.bot_id

    def join(self, call: RestCall) -> None:
        thread, user_id = self._thread(call), self._who(call)
        self.world.member(thread["guild_id"], user_id)
        thread["member_ids"].setdefault(user_id, self.world.now())
        self.threads.update(thread)

    def leave(self, call: RestCall) -> None:
        thread, user_id = self._thread(call), self._who(call)
        if thread["member_ids"].pop(user_id, None) is None:
            raise unknown("Member")
        self.threads.update(thread)

    def _thread(self, call: RestCall) -> Json:
        thread = self.channel(call)
        if thread["type"] not in THREADS:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        return thread

    def active(self, call: RestCall) -> Json:
        threads = self.world.threads_of(self.world.guild(call.path["guild_id"])["id"])
        open_ones = [thread for thread in threads if not thread["archived"]]
        joined = [thread for thread in open_ones if self.bot_id in thread["member_ids"]]
        members = [thread_member_payload(thread, self.bot_id) for thread in joined]
        shown = [thread_payload(thread) for thread in open_ones]
        return {"threads": shown, "members": members, "has_more": False}
