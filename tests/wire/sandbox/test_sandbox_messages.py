"""Cards with pictures, history, pins, threads, direct messages, pings."""

import io
from typing import Any

import discord
import pytest
from PIL import Image
from sandbox_bot import TinyBot
from sandbox_raw import RawBot

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer


def picture(colour: str) -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    file.seek(0)
    return file


async def test_a_card_with_a_picture_is_edited_in_place(
    bot: TinyBot, server: SandboxServer, ada: SandboxUser, raw: RawBot
) -> None:
    channel = bot.get_channel(int(raw.channel))
    assert isinstance(channel, discord.TextChannel)
    embed = discord.Embed(title="step 1").set_image(url="attachment://loss.png")
    card = await channel.send(embed=embed, file=discord.File(picture("red"), "loss.png"))
    assert card.attachments == []
    assert card.embeds[0].image.width == 40

    await card.edit(
        embed=discord.Embed(title="step 2").set_image(url="attachment://loss.png"),
        attachments=[discord.File(picture("blue"), "loss.png")],
    )

    seen = (await ada.messages())[0]
    assert seen.edited is not None
    shown = Image.open(io.BytesIO(await ada.download(seen.embeds[0]["image"]["url"])))
    assert shown.getpixel((0, 0)) == (0, 0, 255)


async def test_history_pins_threads_and_direct_messages(
    bot: TinyBot, server: SandboxServer, ada: SandboxUser, raw: RawBot
) -> None:
    channel = bot.get_channel(int(raw.channel))
    assert isinstance(channel, discord.TextChannel)
    sent = [await channel.send(f"{n}") for n in range(3)]

    history = [message.content async for message in channel.history(limit=2)]
    await sent[0].pin()
    pinned = [message.content async for message in channel.pins()]
    thread = await channel.create_thread(name="talk", type=discord.ChannelType.public_thread)
    await thread.edit(name="closed", archived=True)
    await sent[1].delete()

    assert history == ["2", "1"]
    assert pinned == ["0"]
    assert (await bot.fetch_channel(thread.id)).name == "closed"  # pyright: ignore[reportAttributeAccessIssue]
    assert [message.content for message in await ada.messages()] == ["0", "2"]
    user = await bot.fetch_user(int(next(iter(server.world.users))))
    await user.send("your run ended")
    private = await ada.wait_for(lambda message: message.content == "your run ended", 60)
    assert private.channel_id != raw.channel
    async with SandboxUser(server.page_url, channel=private.channel_id) as inside:
        reply = await inside.reply(await inside.command("ping"))
    assert (reply.content, reply.channel_id) == ("pong Ada", private.channel_id)


async def test_pings_reach_only_whom_the_bot_may_and_wants_to_ping(
    raw: RawBot, server: SandboxServer
) -> None:
    ada_id = next(iter(server.world.users))
    text = f"<@{ada_id}> @everyone"

    async def pinged(**body: Any) -> tuple[list[str], bool]:
        _, message = await raw.send(content=text, **body)
        return [user["id"] for user in message["mentions"]], message["mention_everyone"]

    assert await pinged() == ([ada_id], False)  # the bot lacks the permission for everyone
    assert await pinged(allowed_mentions={"parse": []}) == ([], False)
    assert await pinged(allowed_mentions={"users": [ada_id]}) == ([ada_id], False)


async def test_a_message_repeated_with_its_nonce_is_sent_once(
    bot: TinyBot, ada: SandboxUser, raw: RawBot
) -> None:
    channel = bot.get_channel(int(raw.channel))
    assert isinstance(channel, discord.TextChannel)

    first = await channel.send("ended", nonce="run1-end")
    second = await channel.send("ended", nonce="run1-end")

    assert first.id == second.id
    assert len(await ada.messages()) == 1


async def test_a_deleted_message_is_noticed(
    bot: TinyBot, server: SandboxServer, raw: RawBot
) -> None:
    channel = bot.get_channel(int(raw.channel))
    assert isinstance(channel, discord.TextChannel)
    message = await channel.send("card")

    server.faults.delete_message(str(message.id))

    with pytest.raises(discord.NotFound) as caught:
        await message.edit(content="step 2")
    assert caught.value.code == 10008
    server.faults.delete_channel(raw.channel)
    with pytest.raises(discord.NotFound) as caught:
        await channel.send("more")
    assert caught.value.code == 10003


async def test_components_of_version_two_are_taken_with_their_flag(
    raw: RawBot, ada: SandboxUser
) -> None:
    container = {
        "type": 17,
        "accent_color": 0x14B8A6,
        "components": [
            {"type": 10, "content": "## fox"},
            {"type": 14},
            {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]},
            {"type": 13, "file": {"url": "attachment://a.png"}},
            {"type": 1, "components": [{"type": 2, "style": 1, "label": "a", "custom_id": "a"}]},
        ],
    }

    content = picture("red").read()
    status, _ = await raw.upload("a.png", content, components=[container], flags=1 << 15)

    assert status == 200
    message = (await ada.messages())[0]
    assert message.text == "## fox"
    assert list(message.buttons) == ["a"]
    gallery = message.components[0]["components"][2]
    assert await ada.download(gallery["items"][0]["media"]["url"]) == content
