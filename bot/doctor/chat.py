"""Checks the bot's Discord account: token, application and servers."""

from collections.abc import Iterator
from typing import Any

import httpx

from bot.doctor.finding import CheckResult, failed, fine, unchecked
from bot.messages.installation import invite_link, missing_permissions
from bot.settings import Settings
from training.wording import listed

DISCORD = "https://discord.com"
TOKEN, APPLICATION, SERVERS, INVITE = (
    *("Discord token", "Discord application", "Discord servers", "invite link"),
)
_SECONDS = 20.0
_UNAUTHORIZED = 401
_PORTAL = "discord.com/developers/applications"


class DiscordRefusedError(Exception):
    """Discord did not answer, or it refused the request; the text says why."""


class DiscordAccount:
    """Read-only access to a bot's account."""

    def __init__(self, token: str, url: str = DISCORD) -> None:
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v10",
            headers={"Authorization": f"Bot {token}", "User-Agent": "DiscordBot (lorabot, 1)"},
            timeout=_SECONDS,
        )

    def __enter__(self) -> "DiscordAccount":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def user(self) -> dict[str, Any] | None:
        """Return the bot's user; None if Discord does not know the token."""
        answer = self._ask("/users/@me")
        return None if answer.status_code == _UNAUTHORIZED else _content(answer)

    def application(self) -> dict[str, Any]:
        """Return the Discord application that the bot belongs to."""
        return _content(self._ask("/oauth2/applications/@me"))

    def servers(self) -> list[dict[str, Any]]:
        """Return the first 200 servers that the bot is in."""
        return _content(self._ask("/users/@me/guilds"))

    def _ask(self, path: str) -> httpx.Response:
        try:
            return self._client.get(path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Show only the type: the text of some errors quotes the request, including the token.
            raise DiscordRefusedError(
                f"Discord cannot be reached: {type(error).__name__}."
            ) from None


def _content(answer: httpx.Response) -> Any:
    if not answer.is_success:
        raise DiscordRefusedError(
            f"Discord answered {answer.url.path} with HTTP {answer.status_code}."
        )
    return answer.json()


def chat_findings(settings: Settings) -> Iterator[CheckResult]:
    """Yield the result of each check of the bot's Discord account."""
    if settings.discord_token is None:
        why = "LORABOT_DISCORD_TOKEN is not set here; values of Modal secrets cannot be read"
        yield from (unchecked(check, why) for check in (TOKEN, APPLICATION, SERVERS, INVITE))
        return
    token = settings.discord_token.get_secret_value()
    if not token.isascii() or not token.isprintable() or " " in token:
        yield _unknown_token(settings)
        why = "this check needs a valid token"
        yield from (unchecked(check, why) for check in (APPLICATION, SERVERS, INVITE))
        return
    with DiscordAccount(token, settings.discord_url or DISCORD) as account:
        yield from _look(account, settings)


def _look(account: DiscordAccount, settings: Settings) -> Iterator[CheckResult]:
    later = iter((TOKEN, APPLICATION, SERVERS, INVITE))
    try:
        user = account.user()
        next(later)
        if user is None:
            yield _unknown_token(settings)
            yield from (unchecked(check, "this check needs a valid token") for check in later)
            return
        yield fine(TOKEN, f"belongs to {user['username']}")
        application = account.application()
        next(later)
        yield _application(application)
        servers = account.servers()
        next(later)
        link = invite_link(application["id"])
        yield _servers(servers, link)
        yield fine(INVITE, link)
    except DiscordRefusedError as error:
        yield failed(next(later), str(error), "Look at discordstatus.com, then try again.")
        yield from (unchecked(check, "Discord has not answered") for check in later)


def _unknown_token(settings: Settings) -> CheckResult:
    secret = settings.deployment.discord_secret
    return failed(
        TOKEN,
        "Discord does not accept the token in LORABOT_DISCORD_TOKEN.",
        f"Reset the token on your application's Bot page at {_PORTAL}, and set the new one. For a "
        f"deployed bot: modal secret create {secret} LORABOT_DISCORD_TOKEN=... --force",
    )


def _application(application: dict[str, Any]) -> CheckResult:
    if application.get("interactions_endpoint_url"):
        return failed(
            APPLICATION,
            "The application has an interactions endpoint URL, so Discord sends commands there, "
            "not to the bot.",
            f"Clear that URL on your application's General Information page at {_PORTAL}.",
        )
    if application.get("bot_require_code_grant"):
        return failed(
            APPLICATION,
            "The application requires a code grant, so the invite link cannot add the bot to a "
            "server.",
            f"Turn off Requires OAuth2 Code Grant on your application's Bot page at {_PORTAL}.",
        )
    return fine(APPLICATION, f"{application['name']}, id {application['id']}")


def _servers(servers: list[dict[str, Any]], link: str) -> CheckResult:
    if not servers:
        return failed(SERVERS, "The bot is not in any server.", f"Open the invite link: {link}")
    lacking = {
        server["name"]: missing
        for server in servers
        if (missing := missing_permissions(int(server["permissions"])))
    }
    if lacking:
        texts = [f"in {name} it lacks {', '.join(missing)}" for name, missing in lacking.items()]
        return failed(
            SERVERS,
            f"{'; '.join(texts)}.",
            f"Open the invite link again, or give the bot's role these permissions: {link}",
        )
    names = listed([server["name"] for server in servers])
    text = f"in {names}, with all permissions; individual channels may still deny some"
    return fine(SERVERS, text)
