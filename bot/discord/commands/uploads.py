"""`/dataset upload`, `/dataset import` and `/checkpoint upload`: files too large for chat."""

from discord import app_commands

from bot.discord.answers.answers import Interaction
from bot.discord.buttons.uploads import begin_import, give_link
from bot.discord.commands.completion import Complete
from bot.discord.commands.options import CHECK, NEW_DATASET, lora_options, lora_target
from bot.service.service import Service
from training.registry.dataset_draft import UploadMode
from training.registry.uploads.session import DatasetTarget


def add_dataset_upload(
    group: app_commands.Group, service: Service, dataset_names: Complete
) -> None:
    @group.command(name="upload", description="Get a link to upload files of any size")
    @app_commands.describe(**NEW_DATASET, check=CHECK)
    @app_commands.autocomplete(name=dataset_names)
    async def upload(
        interaction: Interaction,
        name: str,
        trigger: str | None = None,
        prefix: bool = False,
        mode: UploadMode = "new",
        check: bool = False,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        target = DatasetTarget(
            name=name, mode=mode, trigger=trigger, is_prefixed=prefix, is_check=check
        )
        await give_link(interaction, service, target)


def add_dataset_import(
    group: app_commands.Group, service: Service, dataset_names: Complete
) -> None:
    @group.command(name="import", description="Fetch a dataset from a link")
    @app_commands.describe(
        url="https link to a zip, a Google Drive or Dropbox share, or a Hugging Face dataset",
        **NEW_DATASET,
        check=CHECK,
    )
    @app_commands.autocomplete(name=dataset_names)
    async def import_(  # noqa: PLR0913  # options
        interaction: Interaction,
        url: str,
        name: str,
        trigger: str | None = None,
        prefix: bool = False,
        mode: UploadMode = "new",
        check: bool = False,
    ) -> None:
        # The link may be a secret, so only the user who sent it sees the answer.
        await interaction.response.defer(ephemeral=True, thinking=True)
        target = DatasetTarget(
            name=name, mode=mode, trigger=trigger, is_prefixed=prefix, is_check=check
        )
        await begin_import(interaction, service, target, url)


def add_lora_upload(group: app_commands.Group, service: Service) -> None:
    @group.command(name="upload", description="Get a link to upload a LoRA of any size")
    @lora_options
    async def upload(
        interaction: Interaction, model: str, expert: str = "", name: str = ""
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await give_link(interaction, service, lora_target(model, expert, name))
