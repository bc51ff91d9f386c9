"""REST routes for messages, pins and the typing indicator."""

from bot.sandbox.payloads import Views
from bot.sandbox.rest.dispatch import RestCall, RestReply, Route
from bot.sandbox.rest.rate_limits import RateLimits
from bot.sandbox.wire import ApiError, Json, created_at, invalid
from bot.sandbox.world import permissions
from bot.sandbox.world.changes import Changes
from bot.sandbox.world.messages import MessageDraft, Messages
from bot.sandbox.world.threads import Threads
from bot.sandbox.world.world import DM, World, needed_to_send

_MOST_PINS = 250
_NONCE_SECONDS = 300  # a repeated nonce returns the first message for this long
_MESSAGE = "/channels/{channel_id}/messages/{message_id}"


class MessageRoutes:
    """Handlers under /channels/{id}/messages, /pins and /typing."""

    def __init__(
        self,
        world: World,
        messages: Messages,
        threads: Threads,
        views: Views,
        changes: Changes,
        limits: RateLimits,
    ) -> None:
        self._world, self._messages, self._threads = world, messages, threads
        self._views, self._changes, self._limits = views, changes, limits

    def routes(self) -> list[Route]:
        pins = "/channels/{channel_id}/messages/pins"
        return [
            Route("POST", "/channels/{channel_id}/messages", self.create),
            Route("GET", "/channels/{channel_id}/messages", self.listed),
            Route("GET", _MESSAGE, self.get),
            Route("PATCH", _MESSAGE, self.edit),
            Route("DELETE", _MESSAGE, self.delete),
            Route("POST", "/channels/{channel_id}/typing", self.typing),
            Route("GET", pins, self.pins),
            Route("PUT", pins + "/{message_id}", self.pin),
            Route("DELETE", pins + "/{message_id}", self.unpin),
            Route("GET", "/channels/{channel_id}/pins", self.old_pins),
            Route("PUT", "/channels/{channel_id}/pins/{message_id}", self.pin),
            Route("DELETE", "/channels/{channel_id}/pins/{message_id}", self.unpin),
        ]

    @property
    def _bot_id(self) -> str:
        return self._world.bot["id"]

    def _channel(self, call: RestCall, *needed: int) -> Json:
        channel = self._world.channel(call.path["channel_id"])
        self._world.require(self._bot_id, channel, *needed)
        return channel

    def _message(self, call: RestCall, *needed: int) -> Json:
        channel = self._channel(call, *needed)
        return self._messages.get(channel["id"], call.path["message_id"])

    def create(self, call: RestCall) -> RestReply:
        body: Json = call.body
        channel = self._world.channel(call.path["channel_id"])
        needed = [needed_to_send(channel)] + [permissions.ATTACH_FILES] * bool(call.uploads)
        self._channel(call, *needed, *[permissions.EMBED_LINKS] * bool(body.get("embeds")))
        if channel["type"] == DM and not self._world.user(channel["recipient"])["dms_open"]:
            raise ApiError(403, 50007, "Cannot send messages to this user")
        if sent := self._sent_before(channel, body):
            return RestReply(self._views.message(sent))
        self._threads.wake(channel)
        extra = self._reference(channel, body)
        draft = MessageDraft(
            channel=channel,
            author_id=self._bot_id,
            body=body,
            uploads=call.uploads,
            extra=extra,
        )
        return RestReply(self._views.message(self._messages.create(draft)))

    def _sent_before(self, channel: Json, body: Json) -> Json | None:
        """Return the message an earlier request with the same enforced nonce created."""
        nonce = body.get("nonce")
        if nonce is None or not body.get("enforce_nonce"):
            return None
        since = self._world.clock() - _NONCE_SECONDS
        for message in self._messages.listed(channel["id"]):
            if message.get("nonce") == nonce and created_at(message["id"]) > since:
                return message
        return None

    def _reference(self, channel: Json, body: Json) -> Json:
        reference: Json | None = body.get("message_reference")
        if not reference or not reference.get("message_id"):
            return {}
        message_id = str(reference["message_id"])
        known = {m["id"] for m in self._messages.listed(channel["id"])}
        if message_id not in known and reference.get("fail_if_not_exists") is not False:
            text = "Unknown message"
            raise invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", text)
        shown: Json = {"type": 0, "channel_id": channel["id"], "message_id": message_id}
        if "guild_id" in channel:
            shown["guild_id"] = channel["guild_id"]
        return {"message_reference": shown, "type": 19}

    def listed(self, call: RestCall) -> RestReply:
        """Return messages, newest first, by `limit`, `before`, `after`, `around`."""
        channel = self._channel(call)
        bits = self._world.permissions(self._bot_id, channel)
        if not bits & permissions.READ_HISTORY:
            return RestReply([])  # Discord documents an empty list here, not an error
        limit = int(call.query.get("limit", "50"))
        found = self._messages.listed(channel["id"])
        if before := call.query.get("before"):
            found = [m for m in found if int(m["id"]) < int(before)]
        if after := call.query.get("after"):
            found = [m for m in found if int(m["id"]) > int(after)][:limit]
        if around := call.query.get("around"):
            older = [m for m in found if int(m["id"]) < int(around)]
            found = found[max(0, len(older) - limit // 2) :][:limit]
        return RestReply([self._views.message(m) for m in reversed(found[-limit:])])

    def get(self, call: RestCall) -> RestReply:
        return RestReply(self._views.message(self._message(call, permissions.READ_HISTORY)))

    def edit(self, call: RestCall) -> RestReply:
        """Edit one of the bot's own messages."""
        message = self._message(call)
        if message["author_id"] != self._bot_id:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        self._limits.take_old_edit(message["channel_id"], message["id"])
        edited = self._messages.edit(message, call.body, call.uploads)
        return RestReply(self._views.message(edited))

    def delete(self, call: RestCall) -> RestReply:
        """Delete a message; deleting someone else's needs Manage Messages."""
        message = self._message(call)
        if message["author_id"] != self._bot_id:
            self._channel(call, permissions.MANAGE_MESSAGES)
        self._messages.delete(message)
        return RestReply()

    def typing(self, call: RestCall) -> RestReply:
        channel = self._channel(call, permissions.SEND_MESSAGES)
        record = {"channel_id": channel["id"], "user_id": self._bot_id}
        if "guild_id" in channel:
            record["guild_id"] = channel["guild_id"]
        self._changes.publish("typing", record)
        return RestReply()

    def pins(self, call: RestCall) -> RestReply:
        """Return pinned messages, newest pin first."""
        channel = self._channel(call)
        items = [
            {"pinned_at": at, "message": self._views.message(self._messages.find(message_id))}
            for message_id, at in reversed(channel["pins"].items())
        ]
        return RestReply({"items": items, "has_more": False})

    def old_pins(self, call: RestCall) -> RestReply:
        """Return pinned messages in the deprecated format, a plain list."""
        return RestReply([item["message"] for item in self.pins(call).body["items"]])

    def pin(self, call: RestCall) -> RestReply:
        return self._set_pin(call, is_pinned=True)

    def unpin(self, call: RestCall) -> RestReply:
        return self._set_pin(call, is_pinned=False)

    def _set_pin(self, call: RestCall, *, is_pinned: bool) -> RestReply:
        message = self._message(call, permissions.PIN_MESSAGES)
        channel = self._channel(call)
        if is_pinned and len(channel["pins"]) >= _MOST_PINS:
            raise ApiError(400, 30003, f"Maximum number of pins reached ({_MOST_PINS})")
        if is_pinned:
            channel["pins"].setdefault(message["id"], self._world.now())
        else:
            channel["pins"].pop(message["id"], None)
        message["pinned"] = is_pinned
        self._world.save_channel(channel)
        self._messages.touch(message)
        self._changes.publish("pins_update", channel)
        return RestReply()
