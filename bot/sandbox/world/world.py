"""Users, guilds, channels and threads; a new home starts with two guilds and three people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bot.sandbox.wire import ApiError, Clock, Json, Snowflakes, isoformat, known
from bot.sandbox.world import permissions
from bot.sandbox.world.archive import WorldArchive
from bot.sandbox.world.permissions import EVERYONE_MAY

PEOPLE = ("Ada", "Ben", "Cleo")
GUILDS = ("Studio A", "Studio B")
BOT_NAME = "LoRA Bot"
TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 11, 12
THREADS = (10, PUBLIC_THREAD, PRIVATE_THREAD)


ChangeKind = Literal[
    "message_create",
    "message_update",
    "message_delete",
    "thread_create",
    "thread_update",
    "thread_delete",
    "channel_delete",
    "channel_update",
    "guild_create",
    "guild_delete",
    "role_create",
    "role_update",
    "role_delete",
    "member_update",
    "pins_update",
    "typing",
    "interaction",
    "commands",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `record` is what the sandbox stores, which differs from the API payload."""

    kind: ChangeKind
    record: Json


class Changes:
    """Announces changes to the gateway and the chat pages, synchronously."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Change], None]] = []

    def publish(self, kind: ChangeKind, record: Json) -> None:
        for listener in self.listeners:
            listener(Change(kind, record))


def needed_to_send(channel: Json) -> int:
    """Return the permission that writing in this channel requires."""
    if channel["type"] in THREADS:
        return permissions.SEND_IN_THREADS
    return permissions.SEND_MESSAGES


class World:
    """Records of users, guilds and channels.

    A lookup of an unknown id raises the API's 404. Call `save_*` after changing a record.
    """

    def __init__(self, archive: WorldArchive, ids: Snowflakes, clock: Clock) -> None:
        self._archive, self.ids, self.clock = archive, ids, clock
        self.users = archive.all("user")
        self.guilds = archive.all("guild")
        self.channels = archive.all("channel")
        self.unlisted: set[str] = set()  # channels that are hidden from new sessions
        if not self.guilds:
            self._create_world()
        self.bot = next(user for user in self.users.values() if user["bot"])

    @property
    def application_id(self) -> str:
        """The application's id; as in newer Discord applications, it equals the bot user's id."""
        return str(self.bot["id"])

    def now(self) -> str:
        return isoformat(self.clock())

    def save_guild(self, guild: Json) -> None:
        self.guilds[guild["id"]] = guild
        self._archive.put("guild", guild)

    def save_channel(self, channel: Json) -> None:
        self.channels[channel["id"]] = channel
        self._archive.put("channel", channel)

    def forget_channel(self, channel_id: str) -> None:
        """Delete a channel and its threads."""
        threads = [c["id"] for c in self.channels.values() if c.get("parent_id") == channel_id]
        for gone in (channel_id, *threads):
            self.channels.pop(gone, None)
            self._archive.delete("channel", gone)

    def guild(self, guild_id: str) -> Json:
        return known("Guild", self.guilds.get(guild_id))

    def channel(self, channel_id: str) -> Json:
        return known("Channel", self.channels.get(channel_id))

    def guilds_of(self, user_id: str) -> list[Json]:
        """Return the guilds that a user is a member of."""
        return [guild for guild in self.guilds.values() if user_id in guild["members"]]

    def user(self, user_id: str) -> Json:
        return known("User", self.users.get(user_id))

    def member(self, guild_id: str, user_id: str) -> Json:
        """Return a user's membership in a guild: roles, nickname, join date."""
        return known("Member", self.guild(guild_id)["members"].get(user_id))

    def role(self, guild_id: str, role_id: str) -> Json:
        roles = {role["id"]: role for role in self.guild(guild_id)["roles"]}
        return known("Role", roles.get(role_id))

    def permissions(self, user_id: str, channel: Json) -> int:
        """Return a user's permission bits in a channel or, for a thread, in its parent channel."""
        if "guild_id" not in channel:
            return EVERYONE_MAY
        guild = self.guild(channel["guild_id"])
        if user_id not in guild["members"]:
            return 0
        bits = permissions.role_permissions(guild, user_id)
        if bits & permissions.ADMINISTRATOR:
            return permissions.ALL
        if parent := channel.get("parent_id"):
            channel = self.channels.get(parent, channel)
        return permissions.apply_overwrites(bits, guild, user_id, channel)

    def sees(self, user_id: str, channel: Json) -> bool:
        """Return whether a user sees a channel; only the recipient sees a direct message."""
        if "guild_id" not in channel:
            return channel["recipient"] == user_id
        return bool(self.permissions(user_id, channel) & permissions.VIEW_CHANNEL)

    def require(self, user_id: str, channel: Json, *needed: int) -> None:
        """Raise the API's 403 unless the user sees the channel and has these permissions in it."""
        bits = self.permissions(user_id, channel)
        if not bits & permissions.VIEW_CHANNEL:
            raise ApiError(403, 50001, "Missing Access")
        if any(not bits & need for need in needed):
            raise ApiError(403, 50013, "Missing Permissions")

    def channels_of(self, guild_id: str) -> list[Json]:
        return [c for c in self._of(guild_id) if c["type"] not in THREADS]

    def threads_of(self, guild_id: str) -> list[Json]:
        return [c for c in self._of(guild_id) if c["type"] in THREADS]

    def _of(self, guild_id: str) -> list[Json]:
        return [c for c in self.channels.values() if c.get("guild_id") == guild_id]

    def dm_with(self, user_id: str) -> Json:
        """Return the direct-message channel with a user, created on first use."""
        self.user(user_id)
        for channel in self.channels.values():
            if channel["type"] == DM and channel["recipient"] == user_id:
                return channel
        channel: Json = {"id": self.ids.next(), "type": DM, "recipient": user_id}
        channel |= {"last_message_id": None, "pins": {}}
        self.save_channel(channel)
        return channel

    def _create_world(self) -> None:
        for name in (*PEOPLE, BOT_NAME):
            user: Json = {"id": self.ids.next(), "bot": name == BOT_NAME, "global_name": name}
            user["username"] = name if user["bot"] else name.lower()
            user["dms_open"] = True
            self.users[user["id"]] = user
            self._archive.put("user", user)
        for name in GUILDS:
            self._create_guild(name)

    def _create_guild(self, name: str) -> None:
        guild_id = self.ids.next()
        people = list(self.users.values())
        bot_role = self._role("LoRA Bot", permissions=EVERYONE_MAY, managed=True)
        everyone = self._role("@everyone", permissions=EVERYONE_MAY) | {"id": guild_id}
        team = self._role("lora-team", permissions=0, mentionable=True)
        roles = [everyone, team, bot_role]
        guild: Json = {"id": guild_id, "name": name, "owner_id": people[0]["id"]}
        guild |= {"roles": roles, "members": {}}
        for user in people:
            self.join(guild, user)
        guild["members"][people[0]["id"]]["roles"] = [team["id"]]
        self.save_guild(guild)
        channel: Json = {"id": self.ids.next(), "type": TEXT, "name": "training"}
        channel |= {"guild_id": guild_id, "position": 0, "topic": "Train LoRAs here"}
        channel |= {"last_message_id": None, "pins": {}, "permission_overwrites": []}
        self.save_channel(channel)

    def join(self, guild: Json, user: Json) -> None:
        """Make a user a member of a guild; the bot gets its own role."""
        own = [role["id"] for role in guild["roles"] if role["managed"]]
        member: Json = {"roles": own if user["bot"] else [], "joined_at": self.now(), "nick": None}
        guild["members"][user["id"]] = member
        self.save_guild(guild)

    def _role(
        self, name: str, *, permissions: int, managed: bool = False, mentionable: bool = False
    ) -> Json:
        role: Json = {"id": self.ids.next(), "name": name, "permissions": str(permissions)}
        return role | {"managed": managed, "mentionable": mentionable}
