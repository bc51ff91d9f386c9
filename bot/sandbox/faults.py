"""Faults on demand: outages, delays, errors, duplicates, silence, deletions, lost access."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from bot.sandbox.gateway import Gateway
from bot.sandbox.rate_limits import RateLimits
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.threads import Threads
from bot.sandbox.world.world import World

# A download is answered with status 503 or 404, ends halfway, or never begins.
DownloadFault = Literal["503", "404", "cut", "hang"]
# A connection is reset before the request is handled, or before its response is sent.
ResetMoment = Literal["before", "after"]


@dataclass(slots=True)
class Faults:
    """Fault switches for tests and demos, all off by default.

    Attributes:
        delay_seconds: Delays every REST response.
        duplicates: How many of the next interactions to deliver twice.
        refusals: Errors by operation, such as "PATCH /channels/{channel_id}"; while an operation is
            listed here, each of its requests gets this error.
        downloads: Faults of the next downloads of attachments, one for each download.
        resets: For each operation, the moments at which its next requests lose their connection,
            one for each request.
    """

    gateway: Gateway
    messages: Messages
    threads: Threads
    world: World
    limits: RateLimits
    failing: int = 0
    status: int = 500
    delay_seconds: float = 0.0
    duplicates: int = 0
    downloads: list[DownloadFault] = field(default_factory=list[DownloadFault])
    resets: dict[str, list[ResetMoment]] = field(default_factory=dict[str, list[ResetMoment]])
    refusals: dict[str, ApiError] = field(default_factory=dict[str, ApiError])

    def fall_silent(self, *, is_on: bool) -> None:
        """Stop answering heartbeats, as on a half-open connection; resume if `is_on` is False."""
        self.gateway.acknowledges = not is_on

    def fail_next(self, count: int, status: int = 500) -> None:
        """Fail the bot's next `count` REST requests with this status."""
        self.failing, self.status = count, status

    def outage(self, *, is_on: bool) -> None:
        """Start or end an outage: no gateway, and 503 for every REST request."""
        self.gateway.accepts = not is_on
        if is_on:
            self.gateway.drop_sockets()

    def delete_message(self, message_id: str) -> None:
        """Delete a message as a moderator would."""
        self.messages.delete(self.messages.find(message_id))

    def delete_channel(self, channel_id: str) -> None:
        self.threads.delete(self.world.channel(channel_id))

    def archive_thread(self, thread_id: str, *, is_locked: bool = False) -> None:
        """Archive a thread, as Discord does after a while without messages; lock it if asked."""
        thread = self.world.channel(thread_id)
        thread |= {"archived": True, "locked": is_locked, "archive_timestamp": self.world.now()}
        self.threads.update(thread)

    def deny(self, channel_id: str, *bits: int) -> None:
        """Deny everyone these permissions in a channel, replacing earlier denials."""
        channel = self.world.channel(channel_id)
        denied: Json = {"id": channel["guild_id"], "type": 0, "allow": "0", "deny": str(sum(bits))}
        channel["permission_overwrites"] = [denied] if bits else []
        self.world.save_channel(channel)
        self.threads.changes.publish("channel_update", channel)

    def save_role(self, guild_id: str, role: Json) -> None:
        """Create a role, or change one, as a guild's managers do."""
        guild = self.world.guild(guild_id)
        before = [one for one in guild["roles"] if one["id"] != role["id"]]
        is_new = len(before) == len(guild["roles"])
        guild["roles"] = [*before, role]
        self.world.save_guild(guild)
        record = {"guild_id": guild_id, "role": role}
        self.threads.changes.publish("role_create" if is_new else "role_update", record)

    def delete_role(self, guild_id: str, role_id: str) -> None:
        guild, role = self.world.guild(guild_id), self.world.role(guild_id, role_id)
        guild["roles"] = [one for one in guild["roles"] if one["id"] != role_id]
        for member in guild["members"].values():
            member["roles"] = [one for one in member["roles"] if one != role_id]
        self.world.save_guild(guild)
        self.threads.changes.publish("role_delete", {"guild_id": guild_id, "role": role})

    def limit_channel(self, channel_id: str, *, seconds: float, requests: int) -> None:
        """Answer the next `requests` requests to a channel with 429 and a wait of `seconds`."""
        self.limits.refuse_channel(channel_id, seconds, requests)

    def unlist_channel(self, channel_id: str) -> None:
        """Hide a channel from sessions that start later."""
        self.world.unlisted.add(channel_id)

    def withhold_guild(self, guild_id: str) -> None:
        """Withhold a GUILD_CREATE from new sessions, as if the guild had an outage."""
        self.gateway.withheld.add(guild_id)

    def deliver_guild(self, guild_id: str) -> None:
        """Send the GUILD_CREATE that was withheld."""
        self.gateway.withheld.discard(guild_id)
        self.threads.changes.publish("guild_create", self.world.guild(guild_id))

    def remove_bot(self, guild_id: str) -> None:
        """Remove the bot from a guild, as a manager of the guild could."""
        guild = self.world.guild(guild_id)
        del guild["members"][self.world.bot["id"]]
        self.world.save_guild(guild)
        self.threads.changes.publish("guild_delete", guild)

    def add_bot(self, guild_id: str) -> None:
        """Let the bot join a guild again."""
        self.world.join(self.world.guild(guild_id), self.world.bot)
        self.threads.changes.publish("guild_create", self.world.guild(guild_id))

    def take_duplicate(self) -> bool:
        """Return whether to send the current interaction twice, and count down `duplicates`."""
        is_taken = self.duplicates > 0
        self.duplicates -= is_taken
        return is_taken

    def take_download(self) -> DownloadFault | None:
        """Return the fault of the current download; None if it succeeds."""
        return self.downloads.pop(0) if self.downloads else None

    def take_reset(self, operation: str) -> ResetMoment | None:
        """Return when the current request loses its connection; None if it does not."""
        moments = self.resets.get(operation)
        return moments.pop(0) if moments else None

    async def strike(self, operation: str) -> None:
        """Apply the active faults to the current REST request."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if not self.gateway.accepts:
            raise ApiError(503, 0, "503: Service Unavailable")
        if self.failing:
            self.failing -= 1
            raise ApiError(self.status, 0, f"{self.status}: fault on demand")
        if error := self.refusals.get(operation):
            raise error
