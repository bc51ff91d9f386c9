"""REST routes that answer interactions: the callback and the token's webhook."""

from bot.sandbox.interactions import MESSAGE, UPDATE, Interaction, Interactions
from bot.sandbox.payloads import Views
from bot.sandbox.rest.dispatch import RestCall, RestReply, Route
from bot.sandbox.wire import Json

_HOOK = "/webhooks/{webhook_id}/{webhook_token}"


class InteractionRoutes:
    """Handlers authorized by the interaction token in the path."""

    def __init__(self, interactions: Interactions, views: Views) -> None:
        self._interactions, self._views = interactions, views

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

    def answer(self, call: RestCall) -> RestReply:
        """Handle the callback, the first response to an interaction."""
        interaction_id, token = call.path["interaction_id"], call.path["interaction_token"]
        body = self._interactions.answer(interaction_id, token, call.body, call.uploads)
        if call.query.get("with_response", "").lower() not in ("1", "true"):
            return RestReply()
        return RestReply(self._with_resource(interaction_id, body))

    def _with_resource(self, interaction_id: str, body: Json) -> Json:
        interaction = self._interactions.get(interaction_id)
        # Deferrals, choices and modals have no message to return yet.
        if interaction.response_type not in (MESSAGE, UPDATE):
            return body
        message = self._interactions.own_message(interaction, "@original")
        resource: Json = {"type": interaction.response_type}
        resource["message"] = self._views.message(message)
        return body | {"resource": resource}

    def follow_up(self, call: RestCall) -> RestReply:
        interaction = self._of(call)
        message = self._interactions.follow_up(interaction, call.body, call.uploads)
        if call.query.get("wait", "true").lower() in ("0", "false"):
            return RestReply()
        return RestReply(self._views.message(message))

    def get(self, call: RestCall) -> RestReply:
        message = self._interactions.own_message(self._of(call), _message_id(call))
        return RestReply(self._views.message(message))

    def edit(self, call: RestCall) -> RestReply:
        interaction = self._of(call)
        found = self._interactions.edit(interaction, _message_id(call), call.body, call.uploads)
        return RestReply(self._views.message(found))

    def delete(self, call: RestCall) -> RestReply:
        self._interactions.delete(self._of(call), _message_id(call))
        return RestReply()

    def _of(self, call: RestCall) -> Interaction:
        return self._interactions.by_token(call.path["webhook_id"], call.path["webhook_token"])


def _message_id(call: RestCall) -> str:
    return call.path.get("message_id", "@original")
