"""Listens on a port for as long as the bot lives."""

from aiohttp import web

from training.errors import RequestError

_SHUTDOWN_SECONDS = 5.0


class WebServer:
    """Serves an application; port 0 takes any free one."""

    def __init__(self, app: web.Application) -> None:
        # No access log: a line of it would hold the token of a link.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._base_url = ""

    @property
    def base_url(self) -> str:
        """The address that it listens on, empty before it is started."""
        return self._base_url

    async def start(self, host: str, port: int) -> str:
        """Listen, and return the address.

        Raises:
            RequestError: The address cannot be listened on; another program may hold the port.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise RequestError(
                f"The web side cannot listen on {host}, port {port}: {error.strerror}.",
                "Set LORABOT_WEB_HOST and LORABOT_WEB_PORT to an address that is free; "
                "port 0 takes any free port.",
            ) from error
        bound = self._runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self._base_url = f"http://{shown}:{bound[1]}"
        return self._base_url

    async def stop(self) -> None:
        """Stop listening; downloads at work get a few seconds."""
        await self._runner.cleanup()
