"""API payloads of users, guilds, channels, threads and messages."""

from bot.sandbox.openapi_check import emptiest
from bot.sandbox.wire import EPHEMERAL, Json
from bot.sandbox.world.attachments import Attachments
from bot.sandbox.world.world import DM, THREADS, World


def picked(record: Json, *keys: str) -> Json:
    return {key: record.get(key) for key in keys}


def user_payload(user: Json) -> Json:
    return emptiest("UserResponse") | {
        **picked(user, "id", "username", "bot"),
        "global_name": None if user["bot"] else user["global_name"],
        "discriminator": "0000" if user["bot"] else "0",
    }


def self_payload(user: Json) -> Json:
    """Return the bot's own user, private fields included."""
    private = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None}
    return user_payload(user) | private


def member_payload(world: World, guild_id: str, user_id: str) -> Json:
    member = picked(world.member(guild_id, user_id), "nick", "roles", "joined_at")
    return emptiest("GuildMemberResponse") | member | {"user": user_payload(world.user(user_id))}


def role_payload(role: Json, position: int) -> Json:
    shown = picked(role, "id", "name", "permissions", "managed", "mentionable")
    return emptiest("GuildRoleResponse") | shown | {"position": position}


def roles_payload(guild: Json) -> list[Json]:
    """Return the roles of a guild, lowest first."""
    return [role_payload(role, index) for index, role in enumerate(guild["roles"])]


def channel_payload(world: World, channel: Json) -> Json:
    """Return a channel object: text channel, thread or direct message."""
    if channel["type"] in THREADS:
        return thread_payload(channel)
    shared = picked(channel, "id", "type", "last_message_id") | {"flags": 0}
    if channel["type"] == DM:
        return shared | {"recipients": [user_payload(world.user(channel["recipient"]))]}
    shared |= picked(channel, "guild_id", "name", "topic", "position", "permission_overwrites")
    return shared | {"parent_id": None, "nsfw": False, "rate_limit_per_user": 0}


def thread_payload(thread: Json) -> Json:
    metadata = picked(thread, "archived", "archive_timestamp", "auto_archive_duration", "locked")
    shown = picked(thread, "id", "type", "guild_id", "parent_id", "owner_id", "name")
    return shown | {
        "last_message_id": thread["last_message_id"],
        "thread_metadata": metadata | {"create_timestamp": thread["created"]},
        "message_count": thread["message_count"],
        "total_message_sent": thread["message_count"],
        "member_count": len(thread["member_ids"]),
        "rate_limit_per_user": 0,
        "flags": 0,
    }


def thread_member_payload(thread: Json, user_id: str) -> Json:
    joined = thread["member_ids"][user_id]
    return {"id": thread["id"], "user_id": user_id, "join_timestamp": joined, "flags": 0}


def guild_payload(guild: Json) -> Json:
    """Return a guild object, without channels and members."""
    return emptiest("GuildWithCountsResponse") | {
        **picked(guild, "id", "name", "owner_id"),
        "roles": roles_payload(guild),
        "region": "local",
        "afk_timeout": 300,
        "default_message_notifications": 1,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "preferred_locale": "en-US",
    }


def guild_create_payload(world: World, guild: Json) -> Json:
    """Return the data of GUILD_CREATE, with channels and open threads.

    The bot is the only member listed, because listing others requires the members intent.
    """
    bot_id = world.bot["id"]
    channels = [c for c in world.channels_of(guild["id"]) if c["id"] not in world.unlisted]
    threads = [t for t in world.threads_of(guild["id"]) if t["id"] not in world.unlisted]
    unused = "voice_states", "presences", "stage_instances", "guild_scheduled_events"
    return guild_payload(guild) | {
        "joined_at": guild["members"][bot_id]["joined_at"],
        "large": False,
        "unavailable": False,
        "member_count": len(guild["members"]),
        "members": [member_payload(world, guild["id"], bot_id)],
        "channels": [channel_payload(world, channel) for channel in channels],
        "threads": [thread_payload(thread) for thread in threads if not thread["archived"]],
        **{key: [] for key in (*unused, "soundboard_sounds")},
    }


def interaction_member(world: World, channel: Json, user_id: str) -> Json:
    """Return the member object of an interaction, with the user's permissions in the channel."""
    bits = world.permissions(user_id, channel)
    return member_payload(world, channel["guild_id"], user_id) | {"permissions": str(bits)}


def application_payload(world: World) -> Json:
    owner = next(user for user in world.users.values() if not user["bot"])
    return emptiest("PrivateApplicationResponse") | {
        "id": world.application_id,
        "name": world.bot["global_name"],
        "verify_key": "0" * 64,
        "flags_new": "0",
        "owner": user_payload(owner),
        "bot": user_payload(world.bot),
        "bot_public": False,
        "bot_require_code_grant": False,
        "rpc_origins": [],
        "approximate_guild_count": len(world.guilds),
        "integration_types_config": {"0": {}},
    }


# Fields of a message record that the API hides or names differently.
_INTERNAL = ("author_id", "attachment_ids", "ephemeral_for", "guild_id")


class Views:
    """Builds the payloads of messages; each payload has freshly signed attachment links."""

    def __init__(self, world: World, attachments: Attachments) -> None:
        self._world, self._attachments = world, attachments

    def message(self, message: Json) -> Json:
        files = self._files(message)
        links = _Links(files)
        shown = {key: value for key, value in message.items() if key not in _INTERNAL}
        if message["nonce"] is None:
            del shown["nonce"]
        shown["author"] = user_payload(self._world.user(message["author_id"]))
        shown["mentions"] = self._mentions(message)
        shown["embeds"] = [links.embed(embed) for embed in message["embeds"]]
        shown["components"] = [links.component(one) for one in message["components"]]
        shown["attachments"] = [file for file in files if file["filename"] not in links.used]
        if thread := self._world.channels.get(message["id"]):
            shown["thread"] = thread_payload(thread)
        return shown

    def gateway_message(self, message: Json) -> Json:
        """Return a message object with the guild and member fields of gateway events."""
        shown = self.message(message)
        if guild_id := message["guild_id"]:
            shown["guild_id"] = guild_id
            member = member_payload(self._world, guild_id, message["author_id"])
            del member["user"]
            shown["member"] = member
        return shown

    def _mentions(self, message: Json) -> list[Json]:
        known = [self._world.users.get(user_id) for user_id in message["mentions"]]
        return [user_payload(user) for user in known if user]

    def _files(self, message: Json) -> list[Json]:
        records = [self._attachments.record(one) for one in message["attachment_ids"]]
        ephemeral = bool(message["flags"] & EPHEMERAL)
        return [self._attachments.payload(r, is_ephemeral=ephemeral) for r in records if r]


class _Links:
    """Replaces `attachment://` links with signed ones; `used` collects the files that they name."""

    def __init__(self, files: list[Json]) -> None:
        self._files = {file["filename"]: file for file in files}
        self.used: set[str] = set()

    def resolved(self, media: Json) -> Json:
        """Return an embed's media object, with a signed link if it names an uploaded file."""
        file = self._file(media)
        if file is None:
            return media
        sizes = {key: file[key] for key in ("width", "height") if key in file}
        return {"url": file["url"], "proxy_url": file["url"], **sizes}

    def embed(self, embed: Json) -> Json:
        pictures = {key: embed[key] for key in ("image", "thumbnail") if key in embed}
        return embed | {key: self._picture(media) for key, media in pictures.items()}

    def _picture(self, media: Json) -> Json:
        """Return an embed's picture, described as its file is."""
        file = self._file(media) or {}
        described = {key: file[key] for key in ("description",) if key in file}
        return self.resolved(media) | described

    def component(self, component: Json) -> Json:
        """Return a component with signed media links, nested ones included."""
        shown = dict(component)
        if "components" in shown:
            shown["components"] = [self.component(child) for child in shown["components"]]
        if "accessory" in shown:
            shown["accessory"] = self.component(shown["accessory"])
        if "items" in shown:
            shown["items"] = [item | self._media(item["media"]) for item in shown["items"]]
        if "media" in shown:
            shown |= self._media(shown["media"])
        if "file" in shown:
            file = self._file(shown["file"]) or {"filename": "", "size": 0}
            shown |= {"name": file["filename"], "size": file["size"]}
            shown["file"] = self._media(shown["file"])["media"]
        return shown

    def _media(self, media: Json) -> Json:
        # The schema requires an id here, although nothing refers to it.
        shown: Json = {"id": "0", "proxy_url": media["url"]} | self.resolved(media)
        return {"media": shown}

    def _file(self, media: Json) -> Json | None:
        url = str(media.get("url", ""))
        file = self._files.get(url.removeprefix("attachment://"))
        if file is None or not url.startswith("attachment://"):
            return None
        self.used.add(file["filename"])
        return file
