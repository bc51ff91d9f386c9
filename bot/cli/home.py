"""The installation that a command works on: a folder on this machine, or a deployment on Modal."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from training.errors import RequestError
from training.vocabulary import BackendName

if TYPE_CHECKING:
    from bot.installation import Installation
    from bot.settings import Settings

GUILD = "local"  # without --server, whatever the command line creates belongs to this guild
OPERATOR = "operator"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Home:
    """Selects an installation, whose code is imported only when a command opens it."""

    home: Annotated[
        Path | None,
        Parameter(help="Folder for all data. Default: LORABOT_HOME, or ~/.lorabot."),
    ] = None
    backend: Annotated[
        BackendName | None,
        Parameter(help="Work on this machine or on Modal. Default: LORABOT_BACKEND, or local."),
    ] = None
    app: Annotated[
        str | None,
        Parameter(help="Name of the Modal deployment. Default: LORABOT_MODAL_APP, or lorabot."),
    ] = None

    def settings(self) -> "Settings":
        """Return the settings from the environment, overridden by these options.

        Raises:
            RequestError: `--app` is given, but the command works on this machine.
        """
        from bot.settings import Settings

        read = Settings.read(self.home, backend=self.backend, modal_app=self.app)
        if self.app is not None and read.backend == "local":
            raise RequestError(
                f"--app {self.app} names a Modal deployment, but this command runs locally.",
                "Add --backend modal, or leave out --app.",
            )
        return read

    def open(self) -> "Installation":
        """Open the installation.

        Raises:
            RequestError: Modal is not set up on this machine.
            NotFoundError: Nothing is deployed under that name.
        """
        settings = self.settings()
        if settings.backend == "local":
            from bot.hosting.local import LocalInstallation

            return LocalInstallation(settings)
        from bot.deploy.operator import open_deployment

        return open_deployment(settings)

    def this_machine(self, command: str) -> "Settings":
        """Return the settings for a command that only runs locally.

        Raises:
            RequestError: The Modal backend is selected, or this is not Linux.
        """
        from bot.hosting.linux import require_linux

        settings = self.settings()
        if settings.backend != "local":
            raise RequestError(
                f"lorabot {command} only runs on this machine, not on Modal.",
                "Use --backend local. To host the bot on Modal, run lorabot deploy.",
            )
        require_linux(f"lorabot {command}")
        return settings

    @property
    def words(self) -> str:
        """Return the options to append to a suggested command, such as ` --home /data`."""
        given = {"home": self.home, "backend": self.backend, "app": self.app}
        values = {name: str(value) for name, value in given.items() if value is not None}
        # cmd, PowerShell and all Linux shells read double quotes in the same way.
        quoted = {name: f'"{its}"' if " " in its else its for name, its in values.items()}
        return "".join(f" --{name} {value}" for name, value in quoted.items())


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServerHome(Home):
    """An installation, and one of the chat servers that it serves."""

    server: Annotated[
        str, Parameter(help="Id of a chat server; /checkpoint list shows it on that server.")
    ] = GUILD

    @property
    def words(self) -> str:
        """Return the options of the installation, and ` --server ID` if a server was given."""
        return super().words if self.server == GUILD else f"{super().words} --server {self.server}"

    def bot_address(self) -> str:
        """Return the URL of the deployment's bot.

        Raises:
            NotFoundError: The bot is not deployed.
            RequestError: This machine has no valid token.
        """
        from bot.deploy.operator import bot_address

        return bot_address(self.settings())

    @property
    def is_sent(self) -> bool:
        """Whether files are sent over the network to the bot, which stores them for the guild."""
        return self.server != GUILD and self.settings().backend == "modal"

    @property
    def guild(self) -> str:
        """The guild to work in.

        Raises:
            RequestError: `--server` is not a server id.
        """
        if self.server != GUILD and re.fullmatch(r"\d{1,20}", self.server) is None:
            raise RequestError(
                f"{self.server[:40]!r} is not the id of a chat server.",
                "Copy the id from the answer to /checkpoint list in the server.",
            )
        return self.server
