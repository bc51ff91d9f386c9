"""Interactions: the bot acknowledges each once within 3 s and can follow up for 15 minutes."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.sandbox.payloads import user_payload
from bot.sandbox.wire import EPHEMERAL, LOADING, ApiError, Json, invalid, unknown
from bot.sandbox.world.attachments import FilePart
from bot.sandbox.world.components import check_modal
from bot.sandbox.world.messages import MessageDraft, Messages
from bot.sandbox.world.world import Changes, World

ANSWER_SECONDS = 3.0
TOKEN_SECONDS = 15 * 60
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
_ALLOWED = {
    COMMAND: {MESSAGE, DEFER, MODAL},
    COMPONENT: {MESSAGE, DEFER, DEFER_UPDATE, UPDATE, MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL_SUBMIT: {MESSAGE, DEFER, DEFER_UPDATE, UPDATE},
}
Status = Literal["pending", "deferred", "answered", "modal", "failed"]


@dataclass(slots=True, kw_only=True)
class Interaction:
    """One interaction and the state of its response."""

    id: str
    token: str
    type: int
    user_id: str
    channel: Json
    data: Json
    created: float
    message: Json | None = None  # the message whose component was used
    name: str = ""
    status: Status = "pending"
    response_type: int | None = None
    original_id: str | None = None
    answer_id: str | None = None  # the first message with content, so not a deferral
    message_ids: set[str] = field(default_factory=set[str])
    choices: list[Json] = field(default_factory=list[Json])
    modal: Json | None = None
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)


class Interactions:
    """All interactions since the sandbox started."""

    def __init__(self, world: World, messages: Messages, changes: Changes) -> None:
        self._world, self._messages, self._changes = world, messages, changes
        self._by_id: dict[str, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def open(
        self, kind: int, user_id: str, channel: Json, data: Json, message: Json | None = None
    ) -> Interaction:
        """Create an interaction and start its 3-second timer."""
        interaction = Interaction(
            id=self._world.ids.next(),
            token=secrets.token_urlsafe(48),
            type=kind,
            user_id=user_id,
            channel=channel,
            data=data,
            created=self._world.clock(),
            message=message,
            name=data.get("name", ""),
        )
        self._by_id[interaction.id] = interaction
        self._by_token[interaction.token] = interaction
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.expire, interaction)
        return interaction

    def expire(self, interaction: Interaction) -> None:
        if interaction.status == "pending":
            self._advance(interaction, "failed")

    def get(self, interaction_id: str) -> Interaction:
        """Return an interaction; raise the API's 404 if it does not exist."""
        if found := self._by_id.get(interaction_id):
            return found
        raise unknown("interaction")

    def answer(
        self, interaction_id: str, token: str, body: Json, uploads: dict[int, FilePart]
    ) -> Json:
        """Handle the bot's callback; return the body for `with_response`."""
        interaction = self.get(interaction_id)
        if not secrets.compare_digest(interaction.token, token):
            raise unknown("interaction")
        if interaction.acknowledged.is_set() and interaction.status != "failed":
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        is_late = self._world.clock() - interaction.created > ANSWER_SECONDS
        if is_late or interaction.status == "failed":
            self.expire(interaction)
            raise unknown("interaction")
        kind = int(body["type"])
        self._check_kind(interaction, kind)
        self._respond(interaction, kind, body.get("data") or {}, uploads)
        return self.response_body(interaction)

    def _check_kind(self, interaction: Interaction, kind: int) -> None:
        allowed = _ALLOWED[interaction.type]
        if interaction.type == MODAL_SUBMIT and interaction.message is None:
            allowed = allowed - {DEFER_UPDATE, UPDATE}
        if kind not in allowed:
            text = f"An interaction of type {interaction.type} cannot be answered with {kind}."
            raise invalid("type", "INTERACTION_RESPONSE_TYPE_INVALID", text)

    def _respond(
        self, interaction: Interaction, kind: int, data: Json, uploads: dict[int, FilePart]
    ) -> None:
        interaction.response_type = kind
        if kind in (MESSAGE, DEFER):
            body = data if kind == MESSAGE else {"flags": data.get("flags")}
            loading = LOADING if kind == DEFER else 0
            message = self._send(interaction, body, uploads, flags=loading)
            interaction.original_id = message["id"]
            self._advance(interaction, "deferred" if loading else "answered", message)
        elif kind in (DEFER_UPDATE, UPDATE):
            message = self._source(interaction)
            interaction.original_id = message["id"]
            interaction.message_ids.add(message["id"])
            if kind == UPDATE:
                self._messages.edit(message, data, uploads)
            self._advance(interaction, "answered" if kind == UPDATE else "deferred", message)
        elif kind == CHOICES:
            interaction.choices = data.get("choices") or []
            self._advance(interaction, "answered")
        else:
            check_modal(data)
            interaction.modal = data
            self._advance(interaction, "modal")

    def _source(self, interaction: Interaction) -> Json:
        if interaction.message is None:
            raise unknown("Message")
        return self._messages.find(interaction.message["id"])

    def _send(
        self, interaction: Interaction, body: Json, uploads: dict[int, FilePart], *, flags: int = 0
    ) -> Json:
        flags |= (body.get("flags") or 0) & EPHEMERAL
        application = self._world.application_id
        draft = MessageDraft(
            channel=interaction.channel,
            author_id=self._world.bot["id"],
            body=body,
            uploads=uploads,
            flags=flags,
            ephemeral_for=interaction.user_id if flags & EPHEMERAL else None,
            extra={"webhook_id": application, "application_id": application}
            | self._metadata(interaction),
        )
        message = self._messages.create(draft)
        interaction.message_ids.add(message["id"])
        return message

    def _metadata(self, interaction: Interaction) -> Json:
        user = user_payload(self._world.user(interaction.user_id))
        owners = {"0": interaction.channel.get("guild_id", "0")}
        metadata: Json = {"id": interaction.id, "type": interaction.type, "user": user}
        metadata["authorizing_integration_owners"] = owners
        if interaction.type == COMPONENT and interaction.message is not None:
            metadata["interacted_message_id"] = interaction.message["id"]
        if interaction.type == MODAL_SUBMIT:
            inner: Json = metadata | {"type": COMMAND}
            metadata["triggering_interaction_metadata"] = inner
        extra: Json = {"interaction_metadata": metadata}
        if interaction.original_id is not None:
            metadata["original_response_message_id"] = interaction.original_id
        elif interaction.type == COMMAND:
            shown = {"id": interaction.id, "type": COMMAND, "name": interaction.name, "user": user}
            extra["interaction"] = shown
        return extra

    def _advance(
        self, interaction: Interaction, status: Status, message: Json | None = None
    ) -> None:
        interaction.status = status
        if status == "answered" and message is not None and interaction.answer_id is None:
            interaction.answer_id = message["id"]
        interaction.acknowledged.set()
        self._changes.publish("interaction", {"id": interaction.id, "user": interaction.user_id})

    def response_body(self, interaction: Interaction) -> Json:
        """Return the body of the response to the callback; the route adds the message to it."""
        body: Json = {"id": interaction.id, "type": interaction.type}
        message_id = interaction.original_id
        if message_id is not None:
            flags = self._messages.find(message_id)["flags"]
            body["response_message_id"] = message_id
            body["response_message_loading"] = bool(flags & LOADING)
            body["response_message_ephemeral"] = bool(flags & EPHEMERAL)
        return {"interaction": body}

    def by_token(self, application_id: str, token: str) -> Interaction:
        """Return a token's acknowledged interaction; raise the API's error if there is none."""
        interaction = self._by_token.get(token)
        if interaction is None or application_id != self._world.application_id:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if self._world.clock() - interaction.created > TOKEN_SECONDS:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if interaction.status in ("pending", "failed"):
            raise unknown("Webhook")
        return interaction

    def follow_up(self, interaction: Interaction, body: Json, uploads: dict[int, FilePart]) -> Json:
        """Send a follow-up; the first one after a deferral fills the deferred message."""
        original = interaction.original_id
        if interaction.response_type == DEFER and interaction.status == "deferred" and original:
            return self.edit(interaction, original, body, uploads)
        message = self._send(interaction, body, uploads)
        self._advance(interaction, "answered", message)
        return message

    def edit(
        self, interaction: Interaction, message_id: str, body: Json, uploads: dict[int, FilePart]
    ) -> Json:
        message = self.own_message(interaction, message_id)
        is_answer = bool(message["flags"] & LOADING)
        edited = self._messages.edit(message, body, uploads, is_answer=is_answer)
        if interaction.status != "modal":
            self._advance(interaction, "answered", edited)
        return edited

    def own_message(self, interaction: Interaction, message_id: str) -> Json:
        """Return a message of this interaction by id or `@original`, or raise the API's 404."""
        found: Any = interaction.original_id if message_id == "@original" else message_id
        if found not in interaction.message_ids:
            raise unknown("Message")
        return self._messages.find(found)
