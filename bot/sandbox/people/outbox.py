"""Sends people's interactions to the bot over the gateway."""

from dataclasses import dataclass

from bot.sandbox.faults import Faults
from bot.sandbox.gateway.events import Event
from bot.sandbox.gateway.gateway import Gateway
from bot.sandbox.interactions import Interaction, Interactions
from bot.sandbox.payloads import Views, channel_payload, interaction_member, user_payload
from bot.sandbox.wire import MAX_FILE_BYTES, Json
from bot.sandbox.world.world import World


@dataclass(frozen=True, slots=True)
class Place:
    """A user and the channel they act in."""

    user: Json
    channel: Json


class Outbox:
    """Creates interactions and dispatches INTERACTION_CREATE to connected sessions."""

    def __init__(
        self,
        world: World,
        interactions: Interactions,
        views: Views,
        gateway: Gateway,
        faults: Faults,
    ) -> None:
        self._world, self._interactions, self.views = world, interactions, views
        self._gateway, self._faults = gateway, faults

    def send(
        self,
        kind: int,
        place: Place,
        data: Json,
        message: Json | None = None,
        *,
        name: str = "",
    ) -> Interaction:
        """Send an interaction; it fails at once if no session is connected."""
        user_id = place.user["id"]
        interaction = self._interactions.open(kind, user_id, place.channel, data, message)
        interaction.name = name or interaction.name
        payload = self._payload(interaction)
        event = Event(name="INTERACTION_CREATE", data=payload, live_only=True)
        if not self._gateway.is_live:
            self._interactions.expire(interaction)
            return interaction
        self._gateway.dispatch(event)
        if self._faults.take_duplicate():
            self._gateway.dispatch(event)
        return interaction

    def _payload(self, interaction: Interaction) -> Json:
        channel, world = interaction.channel, self._world
        bits = world.permissions(interaction.user_id, channel)
        shown = channel_payload(world, channel) | {"permissions": str(bits)}
        payload: Json = {
            "id": interaction.id,
            "application_id": world.application_id,
            "type": interaction.type,
            "token": interaction.token,
            "version": 1,
            "data": interaction.data,
            "channel": shown,
            "channel_id": channel["id"],
            "locale": "en-US",
            "app_permissions": str(world.permissions(world.bot["id"], channel)),
            "entitlements": [],
            "attachment_size_limit": MAX_FILE_BYTES,
        }
        if interaction.message is not None:
            payload["message"] = self.views.message(interaction.message)
        return payload | self._who(interaction)

    def _who(self, interaction: Interaction) -> Json:
        channel = interaction.channel
        if "guild_id" not in channel:
            user = user_payload(self._world.user(interaction.user_id))
            return {"user": user, "context": 1, "authorizing_integration_owners": {"0": "0"}}
        guild_id = channel["guild_id"]
        guild: Json = {"id": guild_id, "locale": "en-US", "features": []}
        return {
            "guild_id": guild_id,
            "guild": guild,
            "guild_locale": "en-US",
            "member": interaction_member(self._world, channel, interaction.user_id),
            "context": 0,
            "authorizing_integration_owners": {"0": guild_id},
        }
