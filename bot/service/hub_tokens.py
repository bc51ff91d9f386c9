"""Tokens for private datasets on the Hugging Face Hub. They are set and used, but never shown."""

import re
from fnmatch import fnmatchcase

from bot.service.rights import GuildMember, Rights
from bot.service.threads import in_thread
from bot.settings import Settings
from training import store_keys
from training.errors import RequestError
from training.ports import Store

_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,100}")


class HubTokens:
    """Each guild's token, and the operator's token for the repositories on the operator's list."""

    def __init__(self, store: Store, settings: Settings, rights: Rights) -> None:
        self._store, self._settings, self._rights = store, settings, rights

    async def set(self, person: GuildMember, token: str) -> bool:
        """Set the guild's token, or remove it if `token` is empty; return whether there is one.

        Raises:
            RequestError: The person does not manage the server, or `token` is not a valid token.
        """
        self._rights.require_manager(person, act="set the server's Hugging Face token")
        given, key = token.strip(), store_keys.hub_token(person.guild)
        if not given:
            await in_thread(self._store.delete, key)
            return False
        if _TOKEN.fullmatch(given) is None:
            raise RequestError(
                "This is not a Hugging Face token, so nothing was changed.",
                "Copy one with read access from huggingface.co/settings/tokens; it begins with "
                "hf_.",
            )
        await in_thread(self._store.write, key, given.encode())
        return True

    async def is_set(self, guild: str) -> bool:
        return await in_thread(self._store.exists, store_keys.hub_token(guild))

    async def find(self, guild: str, repo: str) -> str | None:
        """Return the token for reading a repository on behalf of a guild, if there is one.

        Raises:
            RequestError: The stored token is damaged.
        """
        try:
            data = await in_thread(self._store.read, store_keys.hub_token(guild))
        except FileNotFoundError:
            return self._of_operator(repo)
        token = data.decode("ascii", "replace")
        if _TOKEN.fullmatch(token) is None:
            raise RequestError(
                "The server's Hugging Face token cannot be read.",
                "Ask a member who manages the server to set it again with /settings.",
            )
        return token

    def _of_operator(self, repo: str) -> str | None:
        own, listed = self._settings.hf_token, self._settings.hub_repos
        is_listed = any(fnmatchcase(repo, one) for one in listed.replace(",", " ").split())
        return own.get_secret_value() if own is not None and is_listed else None
