"""A run that ran out of memory, and the button that starts it again with less."""

from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from tests.wire.bot.chat import Chat
from training.remedies import FewerFrames

T2V = "wan21-t2v-1-3b"
# Python runs this file before everything else: the trainer of a clip that is too long for the GPU
# ends as musubi-tuner's does there. Every other program is left alone.
STAND_IN = """
import os, pathlib, re, sys
argv = sys.orig_argv
if "wan_train_network.py" in argv:
    config = pathlib.Path(argv[argv.index("--dataset_config") + 1]).read_text()
    lists = re.findall(r"target_frames = \\[([^]]*)", config)
    if max(int(n) for text in lists for n in re.findall(r"\\d+", text)) > 29:
        sys.stderr.write(
            "\\rsteps:   0%|          | 0/9 [00:00<?, ?it/s]Traceback (most recent call last):\\n"
            '  File "/opt/musubi-tuner/src/musubi_tuner/wan_train_network.py", line 772\\n'
            "    main()\\n"
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.43 GiB. GPU 0 has a "
            "total capacity of 23.64 GiB of which 0.31 GiB is free.\\n"
        )
        sys.stderr.flush()
        os._exit(1)
"""


@pytest.mark.slow
async def test_a_run_out_of_memory_is_started_again_with_fewer_frames_by_its_button(
    ada: Chat,
    archive: Path,
    local: LocalInstallation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    # The stage is shown as failed before the run is.
    failed = await ada.card("mine", lambda m: "Resume" in m.buttons)

    told = await ada.told(failed, "Failed")
    answer = await ada.user.reply(await ada.user.press(told, "Try again with at most 29 frames"))
    second = str(answer.embeds[0]["title"])
    card = await ada.card(second, lambda m: "succeeded" in m.text)

    retry = "Try again with at most 29 frames"
    assert list(failed.buttons) == ["Details", "Log", "Resume", retry, "Train again"]
    assert "GPU ran out of memory" in failed.text
    assert "2.43 GiB" in failed.text
    assert "GPU ran out of memory" in told.text
    assert [a.filename for a in told.attachments] == ["train-main-1.txt"]
    # The new run's card is in the channel, not in the old run's thread.
    assert (told.channel_id, card.channel_id) == (failed.id, failed.channel_id)
    assert "from the start" in answer.text
    assert "29 frames per training clip" in card.text
    assert list(card.buttons) == ["Details", "Log", "Download", "Train again"]
    guild = local.guilds()[0]
    assert local.runs.view(guild, "mine").run.suggestion == FewerFrames(max_frames=29)
    spec = local.runs.view(guild, second).spec
    assert (spec.items.max_frames, spec.continues) == (29, None)
    await ada.ping("mine")
    await ada.ping(second)
