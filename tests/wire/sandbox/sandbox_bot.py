"""A small real bot, driven by the sandbox's tests."""

import asyncio
import io
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Self

import discord
from discord import app_commands

from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer

Interaction = discord.Interaction["TinyBot"]
MODELS = [
    app_commands.Choice(name="Wan 2.2", value="wan22"),
    app_commands.Choice(name="Wan 2.1", value="wan21"),
]
DATASETS = [f"set-{number:02d}" for number in range(30)]


class Cancel(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"cancel:(?P<run>\w+)"
):
    """A button that outlives the bot's process: its state is in the custom id."""

    def __init__(self, run: str) -> None:
        super().__init__(discord.ui.Button(label="Cancel", custom_id=f"cancel:{run}"))
        self.run = run

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str]
    ) -> Self:
        return cls(match["run"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await interaction.response.edit_message(content=f"{self.run} cancelled", view=None)


class Details(discord.ui.Modal, title="New dataset"):
    name: discord.ui.Label[Any] = discord.ui.Label(
        text="Name", component=discord.ui.TextInput(custom_id="name", min_length=2, max_length=20)
    )
    kind: discord.ui.Label[Any] = discord.ui.Label(
        text="Kind",
        component=discord.ui.Select(
            custom_id="kind", options=[discord.SelectOption(label="Clips", value="clips")]
        ),
    )
    files: discord.ui.Label[Any] = discord.ui.Label(
        text="Files", component=discord.ui.FileUpload(custom_id="files", max_values=3)
    )

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        name, kind, files = self.name.component, self.kind.component, self.files.component
        assert isinstance(name, discord.ui.TextInput)
        assert isinstance(kind, discord.ui.Select)
        assert isinstance(files, discord.ui.FileUpload)
        sizes = [len(await one.read()) for one in files.values]
        await interaction.response.send_message(f"{name.value} {kind.values[0]} {sizes}")


class TinyBot(discord.Client):
    def __init__(self, *, heartbeat_timeout: float = 60.0) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True)
        super().__init__(
            intents=intents,
            guild_ready_timeout=0.05,
            heartbeat_timeout=heartbeat_timeout,
            allowed_mentions=discord.AllowedMentions.none(),
        )
        self.tree = app_commands.CommandTree(self)
        self.is_up = asyncio.Event()
        self.resumed = asyncio.Event()
        self.threads_seen: asyncio.Queue[str] = asyncio.Queue()
        self.messages_seen: asyncio.Queue[str] = asyncio.Queue()
        self.errors: asyncio.Queue[BaseException] = asyncio.Queue()
        self.hold = asyncio.Event()
        add_answers(self)
        add_datasets(self)
        add_training(self)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Cancel)
        await self.tree.sync()

    async def on_ready(self) -> None:
        self.is_up.set()

    async def on_resumed(self) -> None:
        self.resumed.set()

    async def on_thread_create(self, thread: discord.Thread) -> None:
        self.threads_seen.put_nowait(thread.name)

    async def on_message(self, message: discord.Message) -> None:
        self.messages_seen.put_nowait(message.content)


def add_answers(bot: TinyBot) -> None:
    tree = bot.tree

    @tree.error
    async def failed(interaction: Interaction, error: app_commands.AppCommandError) -> None:
        bot.errors.put_nowait(error.__cause__ or error)

    @tree.command(description="Answer at once")
    async def ping(interaction: Interaction) -> None:
        await interaction.response.send_message(f"pong {interaction.user.display_name}")

    @tree.command(description="Only for you")
    async def whisper(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.followup.send("psst")

    @tree.command(description="Never answers in time")
    async def slow(interaction: Interaction) -> None:
        await bot.hold.wait()
        await interaction.response.send_message("too late")


def add_training(bot: TinyBot) -> None:
    tree = bot.tree

    @tree.command(description="Train a LoRA")
    @app_commands.choices(model=MODELS)
    @app_commands.rename(run_name="run-name")
    async def train(
        interaction: Interaction,
        model: app_commands.Choice[str],
        dataset: str,
        epochs: app_commands.Range[int, 1, 100] = 50,
        run_name: str | None = None,
    ) -> None:
        await interaction.response.defer()
        embed = discord.Embed(title=f"{model.value} on {dataset}", colour=0x3366FF)
        embed.add_field(name="Epochs", value=str(epochs))
        view = discord.ui.View(timeout=None).add_item(Cancel(run_name or "run1"))
        await interaction.followup.send(embed=embed, view=view)

    @train.autocomplete("dataset")
    async def suggest(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=n, value=n) for n in DATASETS if typed in n][:25]

    @tree.command(description="Run with a thread")
    async def thread(interaction: Interaction) -> None:
        await interaction.response.send_message("card")
        message = await interaction.original_response()
        card = await message.fetch()
        opened = await card.create_thread(name="run1 · steps")
        await opened.send(f"hello <@{interaction.user.id}>")
        await card.edit(content="card, step 2")


def add_datasets(bot: TinyBot) -> None:
    tree = bot.tree
    group = app_commands.Group(name="dataset", description="Datasets")

    @group.command(description="Add a file")
    async def add(interaction: Interaction, file: discord.Attachment) -> None:
        await interaction.response.defer()
        content = await file.read()
        back = discord.File(io.BytesIO(content[::-1]), "back.txt")
        await interaction.followup.send(f"{file.filename} {len(content)}", file=back)

    @group.command(description="Describe a dataset")
    async def new(interaction: Interaction) -> None:
        await interaction.response.send_modal(Details())

    tree.add_command(group)

    @tree.context_menu(name="Use as dataset")
    async def use(interaction: Interaction, message: discord.Message) -> None:
        names = [one.filename for one in message.attachments]
        await interaction.response.send_message(f"{message.content}: {names}", ephemeral=True)


@asynccontextmanager
async def running_bot(server: SandboxServer, bot: TinyBot | None = None) -> AsyncGenerator[TinyBot]:
    """A logged-in bot that is ready; it is closed cleanly at the end."""
    bot = bot or TinyBot()
    with point_discord_at(server.base_url):
        async with bot:
            life = asyncio.create_task(bot.start(server.bot_token), name="bot")
            async with asyncio.timeout(60):
                await bot.is_up.wait()
            yield bot
            await bot.close()
            await life
