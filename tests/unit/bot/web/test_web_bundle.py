"""A run's zip: the experts paired by epoch, a workflow that loads them, and what to do."""

import io
import json
import zipfile

import httpx

from tests.unit.bot.web.web_side import BYTES, GUILD, OTHER_GUILD, RUN, Web


def contents(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


async def test_zip_pairs_the_experts_by_epoch_and_holds_nothing_else(web: Web) -> None:
    early = "checkpoints/high/annika-high-000005.safetensors"
    web.put(early, b"early")
    web.record((early, 5))
    web.put("checkpoints/high/annika-high-state/model.safetensors", b"state")
    web.put("checkpoints/low/.unfinished.safetensors", b"half")
    web.put("checkpoints/high/berta.safetensors", b"other", guild=OTHER_GUILD)

    answer = await web.client.get(web.links.archive_link(GUILD, RUN))

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
    assert "Without a partner of the same epoch, in the folder unpaired: high of epoch 5." in text
    assert "it loads annika-high.safetensors, annika-low.safetensors" in text
    values = [value for node in workflow["nodes"] for value in node["widgets_values"]]
    assert {"annika-high.safetensors", "annika-low.safetensors"} <= set(values)


async def test_zip_of_one_epoch_holds_its_pair_alone(web: Web) -> None:
    for expert in ("high", "low"):
        file = f"checkpoints/{expert}/annika-{expert}-000005.safetensors"
        web.put(file, expert.encode())
        web.record((file, 5))

    answer = await web.client.get(web.links.archive_link(GUILD, RUN, 5))
    other = await web.client.get(web.links.archive_link(GUILD, RUN, 6))

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
    link = web.links.archive_link(GUILD, RUN, 50)

    assert (await web.client.get(link)).status_code == 200
    for name in ("annika-e5.zip", "annika.zip", "annika-e50.zip.zip", "annik-e50.zip"):
        answer = await web.client.get(f"{link.rpartition('/')[0]}/{name}")
        assert answer.status_code == 403


async def test_head_of_a_zip_sends_no_bytes(web: Web) -> None:
    answer = await web.client.head(web.links.archive_link(GUILD, RUN))

    assert answer.status_code == 200
    assert answer.content == b""


async def test_zip_of_a_run_without_checkpoints_is_not_there(web: Web) -> None:
    web.store.delete(f"guilds/{GUILD}/runs/{RUN}/checkpoints")

    empty = await web.client.get(web.links.archive_link(GUILD, RUN))
    unknown = await web.client.get(web.links.archive_link(GUILD, "berta"))

    assert (empty.status_code, unknown.status_code) == (404, 404)
    assert "no checkpoint" in empty.text
    assert "no run called" in unknown.text
