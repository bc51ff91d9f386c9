"""A server that does what the bot must not: it blocks its event loop with a call to Modal."""

import modal

app = modal.App("blocking")


@app.server(port=8000, min_containers=1)
class Blocking:
    @modal.enter()
    async def start(self) -> None:
        modal.Dict.from_name("blocking", create_if_missing=True).put("key", 1)
