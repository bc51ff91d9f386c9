"""How a message looks on the wire, with links signed at the moment of asking."""

from bot.sandbox.payloads.objects import member_payload, thread_payload, user_payload
from bot.sandbox.wire import Json
from bot.sandbox.world.attachments import Attachments
from bot.sandbox.world.messages import is_ephemeral
from bot.sandbox.world.world import World

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
    """Dresses message records for the bot and for people."""

    def __init__(self, world: World, attachments: Attachments) -> None:
        self._world, self._attachments = world, attachments

    def message(self, message: Json) -> Json:
        """Return a message as REST answers it."""
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
        """Return a message as a gateway event carries it."""
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
    """Replaces `attachment://` links by signed ones and notes which files these used."""

    def __init__(self, files: list[Json]) -> None:
        self._files = {file["filename"]: file for file in files}
        self.used: set[str] = set()

    def resolved(self, media: Json) -> Json:
        """Return an embed's picture with a link that can be opened."""
        file = self._file(media)
        if file is None:
            return media
        sizes = {key: file[key] for key in ("width", "height") if key in file}
        return {"url": file["url"], "proxy_url": file["url"], **sizes}

    def embed(self, embed: Json) -> Json:
        """Return an embed with its pictures' links resolved."""
        pictures = {key: embed[key] for key in ("image", "thumbnail") if key in embed}
        return embed | {key: self.resolved(media) for key, media in pictures.items()}

    def component(self, component: Json) -> Json:
        """Return a component with the links of its media resolved, nested ones too."""
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
        # The API gives every unfurled medium an id; nothing refers to it.
        shown: Json = {"id": "0", "proxy_url": media["url"]} | self.resolved(media)
        return {"media": shown}

    def _file(self, media: Json) -> Json | None:
        url = str(media.get("url", ""))
        file = self._files.get(url.removeprefix("attachment://"))
        if file is None or not url.startswith("attachment://"):
            return None
        self.used.add(file["filename"])
        return file
