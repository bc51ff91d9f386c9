"""Decides who may change other people's items, for commands, buttons and web pages."""

from dataclasses import dataclass, field

from bot.service.server_settings import SettingsStore
from training.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildMember:
    """A user who requests something in a guild, with their roles and permissions there.

    Attributes:
        roles: Ids of their roles in the guild.
        manages_server: Whether they have the Manage Server permission there.
    """

    id: str
    guild: str
    roles: frozenset[str] = field(default_factory=frozenset[str])
    manages_server: bool = False


class Rights:
    """Grants rights to owners, the team role and members with Manage Server.

    The command line does not check rights, because whoever can run it operates the installation.
    """

    def __init__(self, settings: SettingsStore) -> None:
        self._settings = settings

    def require_owner(self, person: GuildMember, owner: str, *, what: str, act: str) -> None:
        """Raise an error unless `person` may act on an item that belongs to `owner`.

        Args:
            person: The person who wants to act.
            owner: The owner's id.
            what: The item as named in the error, such as "The run annika".
            act: The action, such as "cancel".

        Raises:
            RequestError: The person is not the owner and lacks the team role and Manage Server.
        """
        if person.id == owner or self._is_of_team(person):
            return
        team = ", members with the team role" if self._team_role(person) is not None else ""
        raise RequestError(
            f"{what} belongs to somebody else.",
            f"Only its owner{team} and members who manage the server can {act} it.",
        )

    def require_team(self, person: GuildMember, *, act: str) -> None:
        """Raise `RequestError` unless the person has the team role or manages the server."""
        if self._is_of_team(person):
            return
        team = "with the team role and members " if self._team_role(person) is not None else ""
        raise RequestError(
            f"Only members {team}who manage the server can {act}.", "Ask one of them."
        )

    def _team_role(self, person: GuildMember) -> str | None:
        return self._settings.read(person.guild).team_role

    def _is_of_team(self, person: GuildMember) -> bool:
        return person.manages_server or self._team_role(person) in person.roles

    def require_manager(self, person: GuildMember, *, act: str) -> None:
        """Raise `RequestError` unless the person manages the server."""
        if not person.manages_server:
            raise RequestError(
                f"Only members who manage the server can {act}.",
                "Ask one of them, or get the Manage Server permission.",
            )
