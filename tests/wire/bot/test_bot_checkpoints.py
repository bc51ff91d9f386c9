"""`/checkpoint` and `/train resume-from:` as people type them, and the workflow they download."""

import io
import json
import re
import zipfile
from pathlib import Path

import pytest

from tests.adapters import SPELLINGS, respelled, tensors, widths, write_adapter
from tests.wire.bot.chat import Chat

T2V, PAIR = "wan21-t2v-1-3b", "wan22-i2v-lightning"


@pytest.mark.slow
async def test_a_team_starts_training_from_its_own_lora(
    ada: Chat, ben: Chat, cleo_elsewhere: Chat, archive: Path, tmp_path: Path
) -> None:
    file = write_adapter(
        tmp_path / "old-lora.safetensors", respelled(tensors(widths(T2V)), SPELLINGS["peft"])
    )
    await ada.ask("dataset add", name="annika", zip=archive)

    added = await ada.ask("checkpoint add", file=file, model=T2V)
    offered = await ben.user.autocomplete("train", "resume-from", "old", {"model": T2V})
    wrong = await ben.refused("train", model=T2V, dataset="annika", resume_from="old-lora")
    remote_advance = await cleo_elsewhere.ask("checkpoint list")
    hidden = await cleo_elsewhere.user.autocomplete("train", "resume-from", "", {"model": T2V})
    options = {"rank": "4", "epochs": "1", "name": "mine"}
    plan = await ben.ask("train", model=T2V, dataset="annika", resume_from="old-lora", **options)
    removed = await ada.ask("checkpoint remove", name="old-lora")
    await ben.ping("mine")
    card = await ben.card("mine", lambda m: "succeeded" in m.text)
    later = await ada.user.autocomplete("train", "resume-from", "mine/", {"model": T2V})

    assert "Checkpoint old-lora" in added.text
    assert "renamed from another trainer's format" in added.text
    assert [choice.value for choice in offered] == ["old-lora"]
    assert "rank 4, but the main expert is set to rank 16" in wrong
    assert "Set the rank to 4" in wrong
    assert "No LoRA files yet" in remote_advance.text
    assert hidden == []
    assert "starts from old" in plan.text
    assert "keep their own copy" in removed.text
    assert re.search(r"Starts from \*\*old.?-lora", card.text)
    assert [choice.value for choice in later] == ["mine/e1"]


async def test_unusable_starting_files_are_refused_with_a_fix(ada: Chat, tmp_path: Path) -> None:
    pickle, large = tmp_path / "a.pt", tmp_path / "large.safetensors"
    pickle.write_bytes(b"\x80\x02anything")
    large.write_bytes(bytes(6 << 20))
    foreign = write_adapter(tmp_path / "i2v.safetensors", tensors(widths("wan21-i2v-480p")))
    either = write_adapter(tmp_path / "either.safetensors", tensors(widths(PAIR)))

    assert "Convert it" in await ada.refused("checkpoint add", file=pickle, model=T2V)
    assert "is 6.0 MiB; the limit in chat is 5.0 MiB" in await ada.refused(
        "checkpoint add", file=large, model=T2V
    )
    assert "4 unknown" in await ada.refused("checkpoint add", file=foreign, model=T2V)
    assert "high or low" in await ada.refused("checkpoint add", file=either, model=PAIR)
    assert "no checkpoint called" in await ada.refused("checkpoint remove", name="i2v")
    taken = await ada.ask("checkpoint add", file=either, model=PAIR, expert="low", name="mine")
    assert "You said low" in taken.text
    assert "**mine**" in (await ada.ask("checkpoint list")).text


@pytest.mark.slow
async def test_a_pair_is_downloaded_as_one_zip_with_its_workflow(ada: Chat, archive: Path) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    epochs = "high=1 low=2"
    await ada.ask("train", model=PAIR, dataset="annika", epochs=epochs, save_every="1", name="mine")
    await ada.ping("mine")
    card = await ada.card("mine", lambda m: "succeeded" in m.text)

    answer = await ada.ask("download", run_name="mine")

    assert "a workflow with all of this set up" in card.text
    attached, *small = answer.attachments
    assert attached.filename == "mine-comfyui.json"
    assert {one.filename for one in small} == {
        "mine-high.safetensors",
        "mine-low-000001.safetensors",
    }
    (menu,) = answer.selects.values()
    losses = [option["description"].count("loss") for option in menu["options"]]
    assert losses == [1, 2]  # the second epoch has only a low file
    workflow = json.loads(await ada.user.download(attached.url))
    loras = [n for n in workflow["nodes"] if n["type"] == "LoraLoaderModelOnly"]
    names = [node["widgets_values"][0] for node in loras]
    assert [name for name in names if name.startswith("mine")] == [
        "mine-high.safetensors",
        "mine-low-000001.safetensors",
    ]
    assert sum("4steps-lora" in name for name in names) == 2
    pair = next(url for url in re.findall(r"\((http[^)]*)\)", answer.text) if "mine-e1.zip" in url)
    with zipfile.ZipFile(io.BytesIO(await ada.user.download(pair))) as found:
        inside = {name for name in found.namelist() if name.endswith("tensors")}
    assert inside == {
        "epoch-000001/mine-high.safetensors",
        "epoch-000001/mine-low-000001.safetensors",
    }
