"""A run's zip: experts paired by epoch, a workflow that loads them, and a README."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.damage import cut_off, flip_a_bit, remove
from tests.unit.bot.web_side import BYTES, LOW, OTHER_GUILD, Web


def contents(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


async def test_a_zip_pairs_the_experts_by_epoch_and_has_nothing_else(web: Web) -> None:
    early = "checkpoints/high/annika-high-000005.safetensors"
    await web.put(early, b"early")
    await web.record((early, 5))
    await web.put("checkpoints/high/annika-high-state/model.safetensors", b"state")
    await web.put("checkpoints/low/.unfinished.safetensors", b"half")
    await web.put("checkpoints/high/berta.safetensors", b"other", guild=OTHER_GUILD)

    answer = await web.client.get(web.archive())

    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="annika.zip"'
    found = contents(answer)
    text = found.pop("README.txt").decode()
    workflow = json.loads(found.pop("annika-comfyui.json"))
    assert found == {
        "epoch-000050/annika-high.safetensors": BYTES,
        "epoch-000050/annika-low.safetensors": BYTES[::-1],
        "unpaired/annika-high-000005.safetensors": b"early",
    }
    assert "Without a counterpart, in the folder unpaired: high of epoch 5." in text
    assert "it loads annika-high.safetensors, annika-low.safetensors" in text
    values = [value for node in workflow["nodes"] for value in node["widgets_values"]]
    assert {"annika-high.safetensors", "annika-low.safetensors"} <= set(values)


async def test_a_zip_of_one_epoch_has_only_its_pair(web: Web) -> None:
    for expert in ("high", "low"):
        file = f"checkpoints/{expert}/annika-{expert}-000005.safetensors"
        await web.put(file, expert.encode())
        await web.record((file, 5))

    answer = await web.client.get(web.archive(5))
    other = await web.client.get(web.archive(6))

    found = contents(answer)
    assert answer.headers["content-disposition"] == 'attachment; filename="annika-e5.zip"'
    assert {name for name in found if name.endswith("tensors")} == {
        "epoch-000005/annika-high-000005.safetensors",
        "epoch-000005/annika-low-000005.safetensors",
    }
    assert b"annika-low-000005.safetensors" in found["annika-comfyui.json"]
    assert other.status_code == 404
    assert "of epoch 6" in other.text


async def test_link_to_one_epoch_does_not_open_another_or_all(web: Web) -> None:
    link = web.archive(50)

    assert (await web.client.get(link)).status_code == 200
    for name in ("annika-e5.zip", "annika.zip", "annika-e50.zip.zip", "annik-e50.zip"):
        answer = await web.client.get(f"{link.rpartition('/')[0]}/{name}")
        assert answer.status_code == 403


@pytest.mark.parametrize("damage", [remove, cut_off])
async def test_a_zip_names_the_checkpoints_that_are_missing_from_it(
    web: Web, damage: Callable[[Path], None]
) -> None:
    await web.damage(LOW, damage)

    found = contents(await web.client.get(web.archive()))

    assert {name for name in found if name.endswith("tensors")} == {
        "epoch-000050/annika-high.safetensors"
    }
    assert "gone or damaged: epoch-000050/annika-low.safetensors." in found["README.txt"].decode()


async def test_a_zip_breaks_off_at_a_checkpoint_that_is_not_what_was_saved_and_then_names_it(
    web: Web,
) -> None:
    await web.damage(LOW, flip_a_bit)

    with pytest.raises(httpx.TransportError):
        await web.client.get(web.archive())
    again = contents(await web.client.get(web.archive()))
    await web.damage(LOW, flip_a_bit)
    whole = contents(await web.client.get(web.archive()))

    assert "gone or damaged: epoch-000050/annika-low.safetensors." in again["README.txt"].decode()
    assert not any("low" in name for name in again if name.endswith("tensors"))
    assert "epoch-000050/annika-low.safetensors" in whole


async def test_head_of_a_zip_sends_no_bytes(web: Web) -> None:
    answer = await web.client.head(web.archive())

    assert answer.status_code == 200
    assert answer.content == b""


async def test_a_run_without_checkpoints_has_no_zip(web: Web) -> None:
    await web.delete("checkpoints")

    empty = await web.client.get(web.archive())
    unknown = await web.client.get(web.links.archive_link(web.guild, "berta"))

    assert (empty.status_code, unknown.status_code) == (404, 404)
    assert "annika-low.safetensors are missing or damaged" in empty.text
    assert "no run called" in unknown.text
