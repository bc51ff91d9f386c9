"""API payloads of users, guilds, channels, threads and messages."""

from bot.sandbox.wire import Json
from bot.sandbox.world.attachments import Attachments
from bot.sandbox.world.messages import is_ephemeral
from bot.sandbox.world.world import DM, THREADS, World


def user_payload(user: Json) -> Json:
    """Return a user object."""
    return {
        "id": user["id"],
        "username": user["username"],
        "global_name": None if user["bot"] else user["global_name"],
        "discriminator": "0000" if user["bot"] else "0",
        "avatar": None,
        "public_flags": 0,
        "flags": 0,
        "bot": user["bot"],
        "banner": None,
        "accent_color": None,
        "avatar_decoration_data": None,
        "primary_guild": None,
        "collectibles": None,
    }


def self_payload(user: Json) -> Json:
    """Return the bot's own user, private fields included."""
    private = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None}
    return user_payload(user) | private


def member_payload(world: World, guild_id: str, user_id: str) -> Json:
    """Return a guild member object with its user."""
    member = world.member(guild_id, user_id)
    return {
        "user": user_payload(world.user(user_id)),
        "nick": member["nick"],
        "roles": member["roles"],
        "joined_at": member["joined_at"],
        "premium_since": None,
        "communication_disabled_until": None,
        "avatar": None,
        "banner": None,
        "flags": 0,
        "pending": False,
        "deaf": False,
        "mute": False,
    }


def role_payload(role: Json, position: int) -> Json:
    """Return a role object."""
    colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
    return {
        "id": role["id"],
        "name": role["name"],
        "permissions": role["permissions"],
        "position": position,
        "color": 0,
        "colors": colors,
        "hoist": False,
        "managed": role["managed"],
        "mentionable": role["mentionable"],
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def roles_payload(guild: Json) -> list[Json]:
    """Return the roles of a guild, lowest first."""
    return [role_payload(role, index) for index, role in enumerate(guild["roles"])]


def channel_payload(world: World, channel: Json) -> Json:
    """Return a channel object: text channel, thread or direct message."""
    if channel["type"] in THREADS:
        return thread_payload(channel)
    shared = {key: channel.get(key) for key in ("id", "type", "last_message_id")} | {"flags": 0}
    if channel["type"] == DM:
        recipient = user_payload(world.user(channel["recipient"]))
        return shared | {"recipients": [recipient]}
    return shared | {
        "guild_id": channel["guild_id"],
        "name": channel["name"],
        "topic": channel["topic"],
        "position": channel["position"],
        "permission_overwrites": channel["permission_overwrites"],
        "parent_id": None,
        "nsfw": False,
        "rate_limit_per_user": 0,
    }


def thread_payload(thread: Json) -> Json:
    """Return a thread object."""
    metadata: Json = {
        "archived": thread["archived"],
        "archive_timestamp": thread["archive_timestamp"],
        "auto_archive_duration": thread["auto_archive_duration"],
        "locked": thread["locked"],
        "create_timestamp": thread["created"],
    }
    keys = ("id", "type", "guild_id", "parent_id", "owner_id", "name", "last_message_id")
    return {key: thread.get(key) for key in keys} | {
        "thread_metadata": metadata,
        "message_count": thread["message_count"],
        "total_message_sent": thread["message_count"],
        "member_count": len(thread["member_ids"]),
        "rate_limit_per_user": 0,
        "flags": 0,
    }


def thread_member_payload(thread: Json, user_id: str) -> Json:
    """Return a thread member object."""
    joined = thread["member_ids"][user_id]
    return {"id": thread["id"], "user_id": user_id, "join_timestamp": joined, "flags": 0}


def guild_payload(guild: Json) -> Json:
    """Return a guild object, without channels and members."""
    empty = dict.fromkeys(_EMPTY_GUILD_FIELDS)
    return empty | {
        "id": guild["id"],
        "name": guild["name"],
        "owner_id": guild["owner_id"],
        "roles": roles_payload(guild),
        "emojis": [],
        "stickers": [],
        "features": [],
        "region": "local",
        "afk_timeout": 300,
        "system_channel_flags": 0,
        "widget_enabled": False,
        "verification_level": 0,
        "default_message_notifications": 1,
        "mfa_level": 0,
        "explicit_content_filter": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "nsfw": False,
        "nsfw_level": 0,
    }


_EMPTY_GUILD_FIELDS = (
    "icon",
    "description",
    "home_header",
    "splash",
    "discovery_splash",
    "banner",
    "application_id",
    "afk_channel_id",
    "system_channel_id",
    "widget_channel_id",
    "vanity_url_code",
    "rules_channel_id",
    "safety_alerts_channel_id",
    "public_updates_channel_id",
    "incidents_data",
)


def guild_create_payload(world: World, guild: Json) -> Json:
    """Return the data of GUILD_CREATE, with channels and open threads.

    The bot is the only member listed: the others need the members intent.
    """
    bot_id = world.bot["id"]
    return guild_payload(guild) | {
        "joined_at": guild["members"][bot_id]["joined_at"],
        "large": False,
        "unavailable": False,
        "member_count": len(guild["members"]),
        "members": [member_payload(world, guild["id"], bot_id)],
        "channels": [channel_payload(world, c) for c in world.channels_of(guild["id"])],
        "threads": [thread_payload(t) for t in world.threads_of(guild["id"]) if not t["archived"]],
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def interaction_member(world: World, channel: Json, user_id: str) -> Json:
    """Return a member with their permissions in a channel, as interactions carry it."""
    bits = world.permissions(user_id, channel)
    member = member_payload(world, channel["guild_id"], user_id)
    return member | {"permissions": str(bits)}


def application_payload(world: World) -> Json:
    """Return the application object."""
    owner = next(user for user in world.users.values() if not user["bot"])
    empty = ("icon", "interactions_endpoint_url", "role_connections_verification_url", "team")
    return dict.fromkeys(empty) | {
        "id": world.application_id,
        "name": world.bot["global_name"],
        "description": "",
        "type": None,
        "verify_key": "0" * 64,
        "flags": 0,
        "flags_new": "0",
        "redirect_uris": [],
        "owner": user_payload(owner),
        "bot": user_payload(world.bot),
        "bot_public": False,
        "bot_require_code_grant": False,
        "rpc_origins": [],
        "approximate_guild_count": len(world.guilds),
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": [],
        "integration_types_config": {"0": {}},
    }


_COPIED = (
    "id",
    "channel_id",
    "type",
    "content",
    "timestamp",
    "edited_timestamp",
    "flags",
    "pinned",
    "mention_everyone",
    "mention_roles",
    "tts",
)
_OPTIONAL = (
    "webhook_id",
    "application_id",
    "interaction",
    "interaction_metadata",
    "message_reference",
    "nonce",
)


class Views:
    """Builds message payloads, signing attachment links on each call."""

    def __init__(self, world: World, attachments: Attachments) -> None:
        self._world, self._attachments = world, attachments

    def message(self, message: Json) -> Json:
        """Return a message object."""
        files = self._files(message)
        links = _Links(files)
        shown = {key: message[key] for key in _COPIED}
        shown |= {key: message[key] for key in _OPTIONAL if message.get(key) is not None}
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
        ephemeral = is_ephemeral(message)
        return [self._attachments.payload(r, is_ephemeral=ephemeral) for r in records if r]


class _Links:
    """Replaces `attachment://` links with signed ones and records the files used."""

    def __init__(self, files: list[Json]) -> None:
        self._files = {file["filename"]: file for file in files}
        self.used: set[str] = set()

    def resolved(self, media: Json) -> Json:
        """Return an embed's media object with a signed link."""
        file = self._file(media)
        if file is None:
            return media
        sizes = {key: file[key] for key in ("width", "height") if key in file}
        return {"url": file["url"], "proxy_url": file["url"], **sizes}

    def embed(self, embed: Json) -> Json:
        """Return an embed with signed image links."""
        pictures = {key: embed[key] for key in ("image", "thumbnail") if key in embed}
        return embed | {key: self.resolved(media) for key, media in pictures.items()}

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
        # The schema requires an id here; nothing refers to it.
        shown: Json = {"id": "0", "proxy_url": media["url"]} | self.resolved(media)
        return {"media": shown}

    def _file(self, media: Json) -> Json | None:
        url = str(media.get("url", ""))
        file = self._files.get(url.removeprefix("attachment://"))
        if file is None or not url.startswith("attachment://"):
            return None
        self.used.add(file["filename"])
        return file
