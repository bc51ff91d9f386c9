"""REST routes for channels and threads."""

from bot.sandbox.payloads import channel_payload, thread_member_payload, thread_payload
from bot.sandbox.rest.dispatch import RestCall, RestReply, Route
from bot.sandbox.wire import ApiError, Json, unknown
from bot.sandbox.world import permissions
from bot.sandbox.world.changes import Changes
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.threads import Threads, check_name
from bot.sandbox.world.world import DM, PRIVATE_THREAD, THREADS, World


class ThreadRoutes:
    """Handlers for reading, editing, creating, joining and leaving."""

    def __init__(
        self, world: World, messages: Messages, threads: Threads, changes: Changes
    ) -> None:
        self._world, self._messages = world, messages
        self._threads, self._changes = threads, changes

    def routes(self) -> list[Route]:
        channel = "/channels/{channel_id}"
        return [
            Route("GET", channel, self.get),
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

    def _channel(self, call: RestCall, *needed: int) -> Json:
        channel = self._world.channel(call.path["channel_id"])
        self._world.require(self._world.bot["id"], channel, *needed)
        return channel

    def get(self, call: RestCall) -> RestReply:
        return RestReply(channel_payload(self._world, self._channel(call)))

    def edit(self, call: RestCall) -> RestReply:
        """Rename, archive or lock a thread; other channels are refused."""
        thread = self._channel(call)
        if thread["type"] not in THREADS:
            raise ApiError(403, 50013, "Missing Permissions")
        if thread["owner_id"] != self._world.bot["id"]:
            self._channel(call, permissions.MANAGE_THREADS)
        body: Json = call.body
        if thread["archived"] and body.get("archived") is not False:
            raise ApiError(400, 50083, "Thread is archived")
        if body.get("name") is not None:
            check_name(body["name"])
        known = ("name", "archived", "locked", "auto_archive_duration")
        thread |= {key: body[key] for key in known if body.get(key) is not None}
        thread["archive_timestamp"] = self._world.now()
        self._world.save_channel(thread)
        self._changes.publish("thread_update", thread)
        return RestReply(thread_payload(thread))

    def delete(self, call: RestCall) -> RestReply:
        """Delete a channel or thread; a direct message is only closed."""
        channel = self._channel(call)
        shown = channel_payload(self._world, channel)
        if channel["type"] == DM:
            return RestReply(shown)
        self._channel(call, permissions.MANAGE_THREADS)
        self._world.forget_channel(channel["id"])
        kind = "thread_delete" if channel["type"] in THREADS else "channel_delete"
        self._changes.publish(kind, channel)
        return RestReply(shown)

    def create(self, call: RestCall) -> RestReply:
        """Create a thread that is not attached to a message."""
        body: Json = call.body
        kind = body.get("type") or PRIVATE_THREAD
        private = kind == PRIVATE_THREAD
        needed = (
            permissions.CREATE_PRIVATE_THREADS if private else permissions.CREATE_PUBLIC_THREADS
        )
        parent = self._channel(call, needed)
        thread_id, owner = self._world.ids.next(), str(self._world.bot["id"])
        thread = self._threads.open(parent, thread_id, kind, body, owner)
        return RestReply(self._with_member(thread), 201)

    def create_from_message(self, call: RestCall) -> RestReply:
        """Create a thread on a message; it takes the message's id."""
        parent = self._channel(call, permissions.CREATE_PUBLIC_THREADS)
        message = self._messages.get(parent["id"], call.path["message_id"])
        thread = self._threads.open_on(parent, message, call.body, self._world.bot["id"])
        return RestReply(self._with_member(thread), 201)

    def _with_member(self, thread: Json) -> Json:
        member = thread_member_payload(thread, self._world.bot["id"])
        return thread_payload(thread) | {"member": member}

    def members(self, call: RestCall) -> RestReply:
        thread = self._thread(call)
        return RestReply([thread_member_payload(thread, one) for one in thread["member_ids"]])

    def _who(self, call: RestCall) -> str:
        return call.path.get("user_id") or str(self._world.bot["id"])

    def join(self, call: RestCall) -> RestReply:
        thread, user_id = self._thread(call), self._who(call)
        self._world.member(thread["guild_id"], user_id)
        thread["member_ids"].setdefault(user_id, self._world.now())
        self._world.save_channel(thread)
        self._changes.publish("thread_update", thread)
        return RestReply()

    def leave(self, call: RestCall) -> RestReply:
        thread, user_id = self._thread(call), self._who(call)
        if thread["member_ids"].pop(user_id, None) is None:
            raise unknown("Member")
        self._world.save_channel(thread)
        self._changes.publish("thread_update", thread)
        return RestReply()

    def _thread(self, call: RestCall) -> Json:
        thread = self._channel(call)
        if thread["type"] not in THREADS:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        return thread

    def active(self, call: RestCall) -> RestReply:
        threads = self._world.threads_of(self._world.guild(call.path["guild_id"])["id"])
        bot_id = self._world.bot["id"]
        open_ones = [thread for thread in threads if not thread["archived"]]
        joined = [thread for thread in open_ones if bot_id in thread["member_ids"]]
        return RestReply(
            {
                "threads": [thread_payload(thread) for thread in open_ones],
                "members": [thread_member_payload(thread, bot_id) for thread in joined],
                "has_more": False,
            }
        )
