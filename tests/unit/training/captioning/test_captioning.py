"""Frames of samples, the instructions for models, their answers, and the rehearsal's stand-in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from storage.local.leases import FileLeases
from storage.local.store import FolderStore
from tests import media
from training.captioning.answers import caption_of
from training.captioning.captioner import CaptionRequest, NoCaptionError
from training.captioning.frames import LONGEST_SIDE, MOST_FRAMES, frame_count, frames_of
from training.captioning.measured import MeasuringCaptioner
from training.captioning.propose import ProposalsMade, Which, propose_captions, summary_of
from training.captioning.templates import LORA_KINDS, TEMPLATES, LoraKind, instructions
from training.dataset.captions.caption import text_notes
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.errors import RequestError
from training.registry.dataset_draft import Upload
from training.registry.datasets import Datasets
from training.registry.proposals import Proposals, fitting

GUILD = "g"


def request(
    *frames: Image.Image, seconds: float = 0.0, trigger: str | None = "ann1ka"
) -> CaptionRequest:
    return CaptionRequest(
        frames=frames,
        kind="video" if seconds else "image",
        seconds=seconds,
        width=frames[0].width,
        height=frames[0].height,
        trigger=trigger,
        template=TEMPLATES["character"],
    )


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (832, 480)) -> Image.Image:
    return Image.new("RGB", size, colour)


class FailingCaptioner:
    """Proposes nothing for the first sample."""

    label, remark, asks_first = "failing", "", False

    def __init__(self) -> None:
        self.asked: list[CaptionRequest] = []

    def propose(self, request: CaptionRequest) -> str:
        self.asked.append(request)
        if len(self.asked) == 1:
            raise NoCaptionError("the captioner refused")
        return f"ann1ka, number {len(self.asked)}"


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(FolderStore(tmp_path / "home"))


@pytest.fixture
def proposals(tmp_path: Path) -> Proposals:
    return Proposals(FolderStore(tmp_path / "home"), FileLeases(tmp_path / "leases"))


def add(datasets: Datasets, tmp_path: Path) -> None:
    """Store annika@1: two images, of which one lacks a caption, and a clip without one."""
    files = {
        "a.png": media.png(640, 480), "a.txt": "ann1ka, one", "b.png": media.png(640, 480, seed=2),
        "c.mp4": media.mp4(33, width=832, height=480),
    }  # fmt: skip
    archive = media.write_zip(tmp_path / "set.zip", files)
    upload = Upload(archive=archive, by="7", file_name="set.zip", trigger="ann1ka")
    draft = datasets.inspect(upload)
    datasets.store(GUILD, "annika", draft, allows_missing_captions=True)


@pytest.mark.parametrize("kind", LORA_KINDS)
def test_each_template_says_what_to_describe_and_what_never(kind: LoraKind) -> None:
    text = instructions(TEMPLATES[kind], trigger="ann1ka", seconds=2.5)

    for told in (*TEMPLATES[kind].describe, *TEMPLATES[kind].never):
        assert f"- {told}" in text
    assert text.index("Describe only") < text.index("Never describe:")
    assert 'begin the caption with "ann1ka"' in text
    assert "a clip of 2.5 seconds" in text
    assert f"a {kind} LoRA" in text


def test_instructions_without_a_trigger_word_do_not_speak_of_one() -> None:
    text = instructions(TEMPLATES["style"], trigger=None, seconds=0)

    assert "for an image." in text
    assert "begin the caption" not in text


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("ann1ka walks along a beach.", "ann1ka walks along a beach."),
        ("A dog runs\nover the grass.", "ann1ka, A dog runs over the grass."),
        ('"ann1ka laughs"', "ann1ka laughs"),
        ("<think>It is a dog.</think>\n\nann1ka sits", "ann1ka sits"),
        ("ann1kaが歩く", "ann1kaが歩く"),
    ],
)
def test_answers_of_models_become_captions_with_the_trigger_word(answer: str, caption: str) -> None:
    assert caption_of(answer, "ann1ka") == caption


@pytest.mark.parametrize(
    "answer",
    [
        *("", "  \n", '""', "!!!!!", "<think>hm</think>", "None", "ann1ka", "word " * 900),
        *("I'm sorry, but I can't assist with that.", "ann1ka, I cannot describe this image."),
        *('{"caption": "ann1ka sits"}', "Sure! Here is a caption for the image: ann1ka sits"),
        "很抱歉\uff0c我无法描述这张图片。",
    ],
)
def test_answers_that_are_no_captions_are_refused(answer: str) -> None:
    with pytest.raises(NoCaptionError):
        caption_of(answer, "ann1ka")


def test_the_stand_in_says_only_what_can_be_measured() -> None:
    captioner = MeasuringCaptioner()

    assert captioner.propose(request(plain((200, 30, 30)))) == (
        "ann1ka, landscape image, 832 x 480 pixels, medium brightness, mostly red"
    )
    dark = plain((10, 10, 20), (480, 832))
    assert captioner.propose(request(dark, dark, seconds=2.06, trigger=None)) == (
        "portrait clip of 2.1 seconds, 480 x 832 pixels, almost no movement, dark, mostly black"
    )
    light = plain((250, 250, 250), (480, 480))
    assert captioner.propose(request(light, plain((0, 0, 0), (480, 480)), seconds=1)) == (
        "ann1ka, square clip of 1.0 seconds, 480 x 480 pixels, much movement, medium brightness, "
        "mostly black and white"
    )
    assert "stand-in" in captioner.label
    assert "stand-in" in captioner.remark


def test_texts_of_the_stand_in_count_as_captions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        colours = rng.integers(0, 256, (4, 3))
        frames = [plain((int(r), int(g), int(b))) for r, g, b in colours]
        text = MeasuringCaptioner().propose(request(*frames, seconds=2))
        assert list(text_notes(text, "ann1ka")) == []


def test_clips_give_frames_in_order_and_images_give_one(tmp_path: Path) -> None:
    shades = [np.full((96, 160, 3), shade, np.uint8) for shade in range(0, 240, 5)]  # 3 s
    files = {"a.png": media.png(1600, 900), "b.mp4": media.encode_clip(shades)}
    archive = media.write_zip(tmp_path / "set.zip", files)
    samples = inspect_zip(archive).samples

    found = {one.source: frames for one, frames in frames_of(archive, samples, Limits())}

    image, clip = found["a.png"], found["b.mp4"]
    assert not isinstance(image, NoCaptionError)
    assert [one.size for one in image] == [(LONGEST_SIDE, 432)]
    assert not isinstance(clip, NoCaptionError)
    assert [one.size for one in clip] == [(160, 96)] * 6
    levels = [int(np.asarray(one)[48, 80, 0]) for one in clip]
    assert levels == pytest.approx([20, 60, 100, 140, 180, 220], abs=6)


@pytest.mark.parametrize(("seconds", "count"), [(None, 1), (0.2, 1), (2.5, 5), (60, MOST_FRAMES)])
def test_a_captioner_sees_two_frames_a_second_up_to_a_limit(
    tmp_path: Path, seconds: float | None, count: int
) -> None:
    archive = media.write_zip(tmp_path / "set.zip", {"a.png": media.png(512, 480)})
    (sample,) = inspect_zip(archive).samples

    assert frame_count(sample.model_copy(update={"seconds": seconds})) == count


def test_a_file_that_changed_or_cannot_be_decoded_gives_no_frames(tmp_path: Path) -> None:
    archive = media.write_zip(tmp_path / "set.zip", {"a.png": media.png(512, 480)})
    (sample,) = inspect_zip(archive).samples
    changed = sample.model_copy(update={"sha256": "0"})
    missing = sample.model_copy(update={"source": "b.png"})
    no_clip = sample.model_copy(update={"kind": "video"})

    found = [frames for _, frames in frames_of(archive, [changed, missing, no_clip], Limits())]

    assert [str(one) for one in found] == [
        "the file in the zip is damaged", "the file in the zip is damaged",
        "the file cannot be decoded",
    ]  # fmt: skip


@pytest.mark.parametrize(("which", "names"), [("missing", "bc"), ("all", "abc")])
def test_proposals_are_stored_and_no_caption_changes(
    datasets: Datasets, proposals: Proposals, tmp_path: Path, which: Which, names: str
) -> None:
    add(datasets, tmp_path)
    shown: list[tuple[int, int]] = []

    made = propose(datasets, proposals, which=which, shown=shown)

    assert (made.made, made.failed, str(made.version.ref)) == (len(names), {}, "annika@1")
    assert shown == [(done, len(names)) for done in range(1, len(names) + 1)]
    version = datasets.find(GUILD, "annika")
    report = datasets.report(GUILD, version)
    stored = fitting(proposals.read(GUILD, "annika"), report.samples)
    assert [Path(name).stem for name in stored] == list(names)
    assert all(one.text.startswith("ann1ka, ") for one in stored.values())
    assert {one.captioner for one in stored.values()} == {MeasuringCaptioner.label}
    assert version.number == 1
    assert version.without_caption == 2


def propose(
    datasets: Datasets, proposals: Proposals, *, which: Which, shown: list[tuple[int, int]]
) -> ProposalsMade:
    return propose_captions(
        datasets, proposals, GUILD, "annika", which, MeasuringCaptioner(), TEMPLATES["character"],
        lambda done, total: shown.append((done, total)),
    )  # fmt: skip


def test_a_sample_without_an_answer_gets_no_proposal_and_others_do(
    datasets: Datasets, proposals: Proposals, tmp_path: Path
) -> None:
    add(datasets, tmp_path)
    captioner = FailingCaptioner()

    made = propose_captions(
        datasets, proposals, GUILD, "annika", "missing", captioner, TEMPLATES["motion"]
    )

    assert (made.made, summary_of(made.failed)) == (1, [("the captioner refused", 1)])
    assert list(proposals.read(GUILD, "annika")) == ["videos/c.mp4"]
    image, clip = captioner.asked
    assert (image.kind, image.seconds, len(image.frames)) == ("image", 0.0, 1)
    assert (clip.kind, len(clip.frames), clip.trigger) == ("video", 5, "ann1ka")
    assert clip.template.kind == "motion"


def test_a_dataset_with_all_captions_needs_no_proposals(
    datasets: Datasets, proposals: Proposals, tmp_path: Path
) -> None:
    archive = media.write_zip(tmp_path / "s.zip", {"a.png": media.png(512, 480), "a.txt": "one"})
    datasets.add(GUILD, "annika", Upload(archive=archive, by="7", file_name="s.zip"))

    with pytest.raises(RequestError, match="Every sample has a caption"):
        propose(datasets, proposals, which="missing", shown=[])
