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

GUILD = "local"  # the guild of everything that is made on the command line
OPERATOR = "operator"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Home:
    """Selects the installation. Its parts are imported when a command opens it."""

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
            RequestError: The Modal backend is selected.
        """
        settings = self.settings()
        if settings.backend != "local":
            raise RequestError(
                f"lorabot {command} only runs on this machine, not on Modal.",
                "Use --backend local. To host the bot on Modal, run lorabot deploy.",
            )
        return settings

    @property
    def words(self) -> str:
        """The options that select this installation, to append to a suggested command."""
        given = {"home": self.home, "backend": self.backend, "app": self.app}
        return "".join(f" --{name} {value}" for name, value in given.items() if value is not None)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServerHome(Home):
    """An installation, and the chat server in it whose files are meant."""

    server: Annotated[
        str, Parameter(help="A chat server's id, as /checkpoint list shows it there.")
    ] = GUILD

    @property
    def guild(self) -> str:
        """The guild to work in.

        Raises:
            RequestError: `--server` is not a server id.
        """
        if self.server != GUILD and re.fullmatch(r"\d{1,20}", self.server) is None:
            raise RequestError(
                f"{self.server[:40]!r} is not the id of a chat server.",
                "Copy it from the answer to /checkpoint list in that server.",
            )
        return self.server
