"""`lorabot caption`: the stand-in at once, an endpoint only with a confirmation."""

from pathlib import Path

import pytest

from tests.lorabot import Lorabot
from tests.media import png, write_zip
from tests.wire.captioning.completions import KEY, MODEL, completion, serving

FILES: dict[str, bytes | str] = {
    "a.png": png(512, 480), "a.txt": "ann1ka, one", "b.png": png(512, 480, seed=2),
    "b.txt": "ann1ka, two",
}  # fmt: skip


@pytest.fixture
def stored(here: Lorabot, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "annika.zip", FILES)
    assert here.run("add", archive, "--trigger", "ann1ka").returncode == 0


@pytest.mark.usefixtures("stored")
def test_a_rehearsal_measures_and_changes_no_caption(here: Lorabot) -> None:
    before = here.run("captions", "annika").stdout

    said = here.run("caption", "annika", "--which", "all", "--for", "motion").stdout

    assert "stand-in" in said
    assert "It costs nothing." in said
    assert "annika@1: 2 captions proposed." in said
    assert here.run("captions", "annika").stdout == before


@pytest.mark.usefixtures("stored")
def test_a_dataset_with_all_captions_needs_none(here: Lorabot) -> None:
    assert "Every sample has a caption already" in here.refused("caption", "annika")


@pytest.mark.usefixtures("stored")
def test_an_endpoint_is_asked_only_with_yes(here: Lorabot, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(completion("ann1ka stands at a wall.")) as server:
        monkeypatch.setenv("LORABOT_CAPTION_URL", server.url)
        monkeypatch.setenv("LORABOT_CAPTION_MODEL", MODEL)
        monkeypatch.setenv("LORABOT_CAPTION_KEY", KEY)

        refusal = here.refused("caption", "annika", "--which", "all")
        assert "--yes" in refusal
        assert server.asked == []
        said = here.run("caption", "annika", "--which", "all", "--yes").stdout

    assert "2 captions proposed" in said
    assert len(server.asked) == 2


@pytest.mark.usefixtures("stored")
def test_real_training_without_a_captioner_names_the_settings(
    here: Lorabot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORABOT_MUSUBI_DIR", str(tmp_path))

    assert "LORABOT_CAPTION_URL" in here.refused("caption", "annika", "--which", "all")


def test_an_address_without_a_host_is_refused(
    here: Lorabot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_CAPTION_URL", "captions")

    assert "LORABOT_CAPTION_URL cannot be 'captions'" in here.refused("caption", "annika")
