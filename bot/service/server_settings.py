"""The bot's settings for each server, with their history."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from training import store_keys
from training.errors import RequestError
from training.pipeline.runtime import Runtime

ASK_ABOVE_USD = 2.0


class ServerSettings(BaseModel):
    """A server's settings, chosen by its managers.

    Attributes:
        team_role: Id of the role whose members may change other people's items and are pinged when
            runs end.
        is_team_role_chosen: Whether a manager chose the team role, or chose to have none. Until
            then, `team_role` is the role that the operator named in `LORABOT_TEAM_ROLE`.
        operator_role: The role name in `LORABOT_TEAM_ROLE` at the time its id was stored in
            `team_role`.
        fallback_channel: Id of the channel that announces the ends of runs whose own channel is
            gone.
        ask_above_usd: A run that may cost more than this needs a confirmation.
        changed_by: Id of the user who made the last change; empty for the bot itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    team_role: str | None = None
    is_team_role_chosen: bool = False
    operator_role: str = ""
    fallback_channel: str | None = None
    ask_above_usd: float = ASK_ABOVE_USD
    changed_at: datetime | None = None
    changed_by: str = ""


class SettingsStore:
    """Stores settings by guild. Each change is a numbered file; the highest number counts."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def read(self, guild: str) -> ServerSettings:
        return self._newest(guild)[1]

    def change(
        self, guild: str, *, by: str, **changes: str | bool | float | None
    ) -> ServerSettings:
        """Change some settings and return all of them. Concurrent changes are not lost.

        Stores nothing if the settings already have these values.
        """
        while True:
            number, old = self._newest(guild)
            if all(getattr(old, name) == value for name, value in changes.items()):
                return old
            made = {**changes, "changed_at": self._runtime.clock(), "changed_by": by}
            new = old.model_copy(update=made)
            key = store_keys.server_settings(guild, number + 1)
            if self._runtime.store.create(key, new.model_dump_json().encode()):
                return new

    def begin_with_role(self, guild: str, name: str, role: str) -> None:
        """Store the id of the role that the operator named, unless a manager has chosen one.

        If a role is already stored for the operator's `name`, it stays, even if it was renamed.
        """
        old = self.read(guild)
        is_found = old.team_role is not None and old.operator_role in ("", name)
        if not old.is_team_role_chosen and not is_found:
            self.change(guild, by="", team_role=role, operator_role=name)

    def _newest(self, guild: str) -> tuple[int, ServerSettings]:
        store = self._runtime.store
        names = store.names(store_keys.settings_of(guild))
        if not names:
            return 0, ServerSettings()
        newest = max(names)
        try:
            data = store.read(f"{store_keys.settings_of(guild)}/{newest}")
            return int(newest.split(".")[0]), ServerSettings.model_validate_json(data)
        except (FileNotFoundError, ValueError) as error:
            raise RequestError(
                "The settings of this server cannot be read, so the bot cannot tell who may do "
                "this.",
                f"Ask the bot's operator to remove {store_keys.settings_of(guild)}/{newest}.",
            ) from error
