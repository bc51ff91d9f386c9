"""Users, guilds, channels and threads; a new home starts with two guilds and three people."""

from bot.sandbox.wire import ApiError, Clock, Json, Snowflakes, isoformat, unknown
from bot.sandbox.world import permissions
from bot.sandbox.world.archive import WorldArchive
from bot.sandbox.world.permissions import EVERYONE_MAY

PEOPLE = ("Ada", "Ben", "Cleo")
GUILDS = ("Studio A", "Studio B")
BOT_NAME = "LoRA Bot"
TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 11, 12
THREADS = (10, PUBLIC_THREAD, PRIVATE_THREAD)


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
        if not self.guilds:
            self._create_world()
        self.bot = next(user for user in self.users.values() if user["bot"])

    @property
    def application_id(self) -> str:
        """The bot user's id: newer Discord applications share it."""
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
        if found := self.guilds.get(guild_id):
            return found
        raise unknown("Guild")

    def channel(self, channel_id: str) -> Json:
        if found := self.channels.get(channel_id):
            return found
        raise unknown("Channel")

    def user(self, user_id: str) -> Json:
        if found := self.users.get(user_id):
            return found
        raise unknown("User")

    def member(self, guild_id: str, user_id: str) -> Json:
        """Return a user's membership in a guild: roles, nickname, join date."""
        if found := self.guild(guild_id)["members"].get(user_id):
            return found
        raise unknown("Member")

    def role(self, guild_id: str, role_id: str) -> Json:
        for role in self.guild(guild_id)["roles"]:
            if role["id"] == role_id:
                return role
        raise unknown("Role")

    def permissions(self, user_id: str, channel: Json) -> int:
        """Return a user's permission bits in a channel; a thread has its parent's."""
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
        """Whether a user can see a channel; a direct message belongs to its recipient."""
        if "guild_id" not in channel:
            return channel["recipient"] == user_id
        return bool(self.permissions(user_id, channel) & permissions.VIEW_CHANNEL)

    def require(self, user_id: str, channel: Json, *needed: int) -> None:
        """Raise the API's 403 unless the user has every permission in the channel."""
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
        members = {
            user["id"]: {
                "roles": [bot_role["id"]] if user["bot"] else [],
                "joined_at": self.now(),
                "nick": None,
            }
            for user in people
        }
        members[people[0]["id"]]["roles"] = [team["id"]]
        guild: Json = {"id": guild_id, "name": name, "owner_id": people[0]["id"]}
        self.save_guild(guild | {"roles": roles, "members": members})
        channel: Json = {"id": self.ids.next(), "type": TEXT, "name": "training"}
        channel |= {"guild_id": guild_id, "position": 0, "topic": "Train LoRAs here"}
        channel |= {"last_message_id": None, "pins": {}, "permission_overwrites": []}
        self.save_channel(channel)

    def _role(
        self, name: str, *, permissions: int, managed: bool = False, mentionable: bool = False
    ) -> Json:
        role: Json = {"id": self.ids.next(), "name": name, "permissions": str(permissions)}
        return role | {"managed": managed, "mentionable": mentionable}
