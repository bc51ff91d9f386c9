"""What a person sees: messages, attachments, suggestions, interactions."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bot.sandbox.wire import EPHEMERAL, LOADING, Json
from bot.sandbox.world.components import walk

Status = Literal["deferred", "answered", "modal", "failed"]


@dataclass(frozen=True, slots=True)
class Choice:
    """An autocomplete suggestion."""

    name: str
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file attached to a message."""

    id: str
    filename: str
    size_bytes: int
    url: str
    content_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as one person sees it; `raw` is the full payload."""

    id: str
    channel_id: str
    author: str
    content: str
    embeds: list[Json]
    components: list[Json]
    attachments: list[Attachment]
    edited: datetime | None
    created: datetime
    ephemeral: bool
    loading: bool
    interaction_id: str | None
    mentions: list[str]
    thread_id: str | None
    raw: Json = field(repr=False)

    @property
    def buttons(self) -> dict[str, Json]:
        """Buttons by label, else by custom id or URL."""
        found = [c for _, c in walk(self.components, "") if c["type"] == 2]
        return {c.get("label") or c.get("custom_id") or c["url"]: c for c in found}

    @property
    def selects(self) -> dict[str, Json]:
        """Selects by custom id."""
        found = [c for _, c in walk(self.components, "") if c["type"] in (3, 5, 6, 7, 8)]
        return {c["custom_id"]: c for c in found}

    @property
    def text(self) -> str:
        """All text: content, text components and embeds, one part per line."""
        parts: list[Any] = [self.content]
        parts += [c.get("content") for _, c in walk(self.components, "")]
        for embed in self.embeds:
            parts += [embed.get("title"), embed.get("description")]
            for one in embed.get("fields", []):
                parts += [one["name"], one["value"]]
            parts.append(embed.get("footer", {}).get("text"))
        return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Modal:
    """A modal opened by the bot."""

    interaction_id: str
    title: str
    custom_id: str
    components: list[Json]

    @property
    def inputs(self) -> dict[str, Json]:
        """Inputs by custom id."""
        return {c["custom_id"]: c for _, c in walk(self.components, "") if c.get("custom_id")}

    @property
    def labels(self) -> dict[str, str]:
        """Custom ids by label."""
        found: dict[str, str] = {}
        for _, component in walk(self.components, ""):
            inner = component.get("component") or component
            if component.get("label") and inner.get("custom_id"):
                found[component["label"]] = inner["custom_id"]
        return found


@dataclass(frozen=True, slots=True)
class InteractionResult:
    """An interaction and how the bot acknowledged it."""

    id: str
    channel_id: str
    status: Status
    message_id: str | None
    modal: Modal | None
    choices: list[Choice]


def message_of(raw: Json) -> Message:
    """Parse a message."""
    edited = raw["edited_timestamp"]
    return Message(
        id=raw["id"],
        channel_id=raw["channel_id"],
        author=raw["author"]["global_name"] or raw["author"]["username"],
        content=raw["content"],
        embeds=raw["embeds"],
        components=raw["components"],
        attachments=[_attachment(one) for one in raw["attachments"]],
        edited=datetime.fromisoformat(edited) if edited else None,
        created=datetime.fromisoformat(raw["timestamp"]),
        ephemeral=bool(raw["flags"] & EPHEMERAL),
        loading=bool(raw["flags"] & LOADING),
        interaction_id=raw.get("interaction_metadata", {}).get("id"),
        mentions=[user["global_name"] or user["username"] for user in raw["mentions"]],
        thread_id=raw.get("thread", {}).get("id"),
        raw=raw,
    )


def _attachment(raw: Json) -> Attachment:
    kind = raw.get("content_type")
    return Attachment(raw["id"], raw["filename"], raw["size"], raw["url"], kind)


def interaction_of(raw: Json) -> InteractionResult:
    """Parse an interaction."""
    modal: Json | None = raw["modal"]
    opened = None
    if modal is not None:
        opened = Modal(raw["id"], modal["title"], modal["custom_id"], modal["components"])
    choices = [Choice(one["name"], one["value"]) for one in raw["choices"]]
    status, answer = raw["status"], raw["message_id"]
    return InteractionResult(raw["id"], raw["channel_id"], status, answer, opened, choices)
