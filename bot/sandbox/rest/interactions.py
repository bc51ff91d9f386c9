"""REST routes that answer interactions, authorized by the token in the path."""

from bot.sandbox.interactions import MESSAGE, UPDATE, Interaction
from bot.sandbox.rest.dispatch import Handlers, RestCall, Route
from bot.sandbox.wire import Json

_HOOK = "/webhooks/{webhook_id}/{webhook_token}"


class InteractionRoutes(Handlers):
    """Handlers of the callback and of the token's webhook."""

    def routes(self) -> list[Route]:
        callback = "/interactions/{interaction_id}/{interaction_token}/callback"
        routes = [
            Route("POST", callback, self.answer, False),
            Route("POST", _HOOK, self.follow_up, False),
        ]
        for name in ("@original", "{message_id}"):
            path = f"{_HOOK}/messages/{name}"
            routes += [
                Route("GET", path, self.get, False),
                Route("PATCH", path, self.edit, False),
                Route("DELETE", path, self.delete, False),
            ]
        return routes

    def answer(self, call: RestCall) -> Json | None:
        """Handle the callback, the first response to an interaction."""
        interactions = self.sandbox.interactions
        interaction_id, token = call.path["interaction_id"], call.path["interaction_token"]
        body = interactions.answer(interaction_id, token, call.body, call.uploads)
        if call.query.get("with_response", "").lower() not in ("1", "true"):
            return None
        interaction = interactions.get(interaction_id)
        # Deferrals, choices and modals have no message to return yet.
        if interaction.response_type not in (MESSAGE, UPDATE):
            return body
        message = self.views.message(interactions.own_message(interaction, "@original"))
        return body | {"resource": {"type": interaction.response_type, "message": message}}

    def follow_up(self, call: RestCall) -> Json | None:
        found = self.sandbox.interactions.follow_up(self._of(call), call.body, call.uploads)
        is_waiting = call.query.get("wait", "true").lower() not in ("0", "false")
        return self.views.message(found) if is_waiting else None

    def get(self, call: RestCall) -> Json:
        found = self.sandbox.interactions.own_message(self._of(call), _message_id(call))
        return self.views.message(found)

    def edit(self, call: RestCall) -> Json:
        interaction, message_id = self._of(call), _message_id(call)
        edit = self.sandbox.interactions.edit
        return self.views.message(edit(interaction, message_id, call.body, call.uploads))

    def delete(self, call: RestCall) -> None:
        found = self.sandbox.interactions.own_message(self._of(call), _message_id(call))
        self.messages.delete(found)

    def _of(self, call: RestCall) -> Interaction:
        hook, token = call.path["webhook_id"], call.path["webhook_token"]
        return self.sandbox.interactions.by_token(hook, token)


def _message_id(call: RestCall) -> str:
    return call.path.get("message_id", "@original")
