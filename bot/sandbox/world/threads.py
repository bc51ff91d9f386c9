"""Threads: creating, archiving and unarchiving, and what is refused while they are archived."""

from bot.sandbox.wire import ApiError, Json, invalid
from bot.sandbox.world import permissions
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.world import PUBLIC_THREAD, TEXT, THREADS, Changes, World

_DURATIONS = (60, 1440, 4320, 10080)  # minutes
_HAS_THREAD = 1 << 5


class Threads:
    """Creates threads for the bot and for people, under the same rules."""

    def __init__(self, world: World, messages: Messages, changes: Changes) -> None:
        self._world, self._messages, self.changes = world, messages, changes

    def open_on(self, parent: Json, message: Json, body: Json, owner_id: str) -> Json:
        """Create a message's thread, with the message's id; raise error 160004 if it exists."""
        if message["id"] in self._world.channels:
            raise ApiError(400, 160004, "A thread has already been created for this message")
        thread = self.open(parent, message["id"], PUBLIC_THREAD, body, owner_id)
        message["flags"] |= _HAS_THREAD
        self._messages.touch(message)
        return thread

    def open(self, parent: Json, thread_id: str, kind: int, body: Json, owner_id: str) -> Json:
        """Create a thread in a text channel; raise the API's error for an invalid request."""
        if parent["type"] != TEXT:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        check_name(body["name"])
        duration = body.get("auto_archive_duration") or 1440
        if duration not in _DURATIONS:
            text = f"Value must be one of {set(_DURATIONS)}."
            raise invalid("auto_archive_duration", "BASE_TYPE_CHOICES", text)
        now = self._world.now()
        thread: Json = {"id": thread_id, "type": kind, "name": body["name"]}
        thread |= {"guild_id": parent["guild_id"], "parent_id": parent["id"]}
        thread |= {"owner_id": owner_id, "member_ids": {owner_id: now}}
        thread |= {"archived": False, "locked": False, "auto_archive_duration": duration}
        thread |= {"archive_timestamp": now, "created": now}
        thread |= {"message_count": 0, "last_message_id": None, "pins": {}}
        self._world.save_channel(thread)
        self.changes.publish("thread_create", thread)
        return thread

    def wake(self, channel: Json, user_id: str) -> None:
        """Unarchive a thread before a user's message is sent; raise error 50083 if it is locked.

        Moderators, who may manage threads, can write in locked ones too.
        """
        if channel["type"] not in THREADS:
            return
        if channel["locked"] and not self._moderates(channel, user_id):
            raise archived()
        if channel["archived"]:
            channel["archived"] = False
            self.update(channel)

    def require_open(self, channel: Json, user_id: str) -> None:
        """Raise error 50083 if a user may not change the messages of a thread.

        In an archived thread, nobody may. In a locked thread, only moderators may.
        """
        if channel["type"] not in THREADS:
            return
        if channel["archived"] or (channel["locked"] and not self._moderates(channel, user_id)):
            raise archived()

    def _moderates(self, thread: Json, user_id: str) -> bool:
        return bool(self._world.permissions(user_id, thread) & permissions.MANAGE_THREADS)

    def update(self, thread: Json) -> None:
        """Store and announce a thread that was changed in place."""
        self._world.save_channel(thread)
        self.changes.publish("thread_update", thread)

    def delete(self, channel: Json) -> None:
        """Delete a thread, or a channel with its threads."""
        self._world.forget_channel(channel["id"])
        is_thread = channel["type"] in THREADS
        self.changes.publish("thread_delete" if is_thread else "channel_delete", channel)


def archived() -> ApiError:
    """Return the error for actions refused in archived and locked threads."""
    return ApiError(400, 50083, "Thread is archived")


def check_name(name: str) -> None:
    """Raise error 50035 unless a name has 1 to 100 characters."""
    if not name.strip() or len(name) > 100:
        text = "Must be between 1 and 100 in length."
        raise invalid("name", "BASE_TYPE_BAD_LENGTH", text)
