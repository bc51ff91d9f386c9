"""Latent and text caches: musubi-tuner's names, keys and shapes, made from real media."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.media import jpeg, mp4, png
from tests.ml.rehearsal.workspace import Workspace, run_observed, write_media
from training.rehearsal import tensor_file
from training.rehearsal.__main__ import main
from training.rehearsal.model.weights import write_weights
from training.rehearsal.options import CACHE_LATENTS, CACHE_TEXT
from training.runs.training_events import CacheProgress


def read_floats(path: Path, name: str) -> tensor_file.Floats:
    return tensor_file.floats(tensor_file.read_header(path), name)


class Case:
    """One dataset in its own folder."""

    def __init__(self, root: Path, dataset: str) -> None:
        self.root = root
        self.cache = root / "cache"
        self.config = root / "dataset.toml"
        self.config.write_text(
            '[general]\ncaption_extension = ".txt"\nenable_bucket = true\n[[datasets]]\n'
            f'{dataset.replace("@", str(root))}\ncache_directory = "{self.cache}"\n'
        )
        write_weights(root / "vae.safetensors", role="vae", seed="a")
        write_weights(root / "t5.pth", role="t5", seed="a")

    def latents(self, *extra: str) -> int:
        vae = str(self.root / "vae.safetensors")
        return main([CACHE_LATENTS, "--dataset_config", str(self.config), "--vae", vae, *extra], {})

    def texts(self, *extra: str) -> int:
        t5 = str(self.root / "t5.pth")
        return main([CACHE_TEXT, "--dataset_config", str(self.config), "--t5", t5, *extra], {})

    def names(self) -> list[str]:
        return sorted(path.name for path in self.cache.glob("*"))


IMAGES = 'resolution = [320, 192]\nimage_directory = "@/images"'
VIDEOS = 'resolution = [96, 96]\nvideo_directory = "@/videos"\ntarget_frames = [9]\n'


def entries(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    header = tensor_file.read_header(path)
    return {name: (entry.dtype, entry.shape) for name, entry in header.tensors.items()}


def test_caches_have_musubis_names(workspace: Workspace) -> None:
    names = {path.name for path in workspace.root.glob("cache-*/*")}

    assert names == {
        *(f"{n}_0320x0192_wan.safetensors" for n in range(3)),
        *(f"{n}_wan_te.safetensors" for n in range(3)),
        *(
            f"clip {n}_00000-{frames:03d}_0192x0128_wan.safetensors"
            for n in range(2)
            for frames in (1, 9, 17)
        ),
        *(f"clip {n}_wan_te.safetensors" for n in range(2)),
    }


def test_a_clips_cache_has_musubis_keys_and_shapes(workspace: Workspace) -> None:
    path = workspace.root / "cache-videos" / "clip 0_00000-017_0192x0128_wan.safetensors"

    assert entries(path) == {
        "latents_5x16x24_bfloat16": ("BF16", (16, 5, 16, 24)),
        "latents_image_5x16x24_bfloat16": ("BF16", (20, 5, 16, 24)),
        "clip_bfloat16": ("F16", (257, 1280)),
    }
    metadata = tensor_file.read_header(path).metadata
    assert metadata.pop("lorabot.crc32")
    assert metadata == {
        "architecture": "wan",
        "format_version": "1.0.1",
        "width": "192",
        "height": "128",
        "frame_count": "17",
    }


def test_the_image_latent_is_marked_in_the_first_frame_only(workspace: Workspace) -> None:
    path = workspace.root / "cache-videos" / "clip 0_00000-017_0192x0128_wan.safetensors"
    latents = read_floats(path, "latents_5x16x24_bfloat16")
    image = read_floats(path, "latents_image_5x16x24_bfloat16")

    assert np.all(image[:4, 0] == 1)
    assert np.all(image[:4, 1:] == 0)
    assert np.array_equal(image[4:, 0], latents[:, 0])
    assert not np.any(image[4:, 1:])


def test_a_text_cache_holds_the_captions_tokens(workspace: Workspace) -> None:
    path = workspace.root / "cache-images" / "1_wan_te.safetensors"

    assert entries(path) == {"varlen_t5_bfloat16": ("BF16", (4, 4096))}
    assert tensor_file.read_header(path).metadata["caption1"] == "annika, 1"


def test_latents_reflect_the_picture(tmp_path: Path) -> None:
    case = Case(tmp_path, IMAGES)
    write_media(tmp_path, {"images/a.png": png(seed=1), "images/b.png": png(seed=2)})
    half = Image.new("RGB", (320, 192), "black")
    half.paste("white", (160, 0, 320, 192))
    half.save(tmp_path / "images" / "half.png")
    (tmp_path / "images" / "half.txt").write_text("half")

    assert case.latents() == 0

    key = "latents_1x24x40_bfloat16"
    a, b, half_latents = (
        read_floats(case.cache / f"{stem}_0320x0192_wan.safetensors", key)
        for stem in ("a", "b", "half")
    )
    assert not np.array_equal(a, b)
    assert np.all(half_latents[:, :, :, :20] == half_latents[:, :, :1, :1])
    assert np.all(half_latents[:, :, :, 20:] == half_latents[:, :, :1, -1:])
    assert 0.3 < a.std() < 3


def test_source_fps_drops_frames(tmp_path: Path) -> None:
    case = Case(tmp_path, f"{VIDEOS}source_fps = 32.0")
    write_media(tmp_path, {"videos/a.mp4": mp4(17, width=128, height=96)})

    assert case.latents() == 0
    assert case.names() == ["a_00000-009_0112x0080_wan.safetensors"]

    faster = case.config.read_text().replace("32.0", "48.0")
    case.config.write_text(faster)
    assert case.latents() == 0
    assert case.names() == []


def test_skip_existing_checks_only_the_name(tmp_path: Path) -> None:
    case = Case(tmp_path, IMAGES)
    write_media(tmp_path, {"images/a.png": png(seed=1)})
    assert (case.latents(), case.texts()) == (0, 0)
    before = {name: (case.cache / name).read_bytes() for name in case.names()}
    (tmp_path / "images/a.png").write_bytes(png(seed=2))
    (tmp_path / "images/a.txt").write_text("something else")

    assert (case.latents("--skip_existing"), case.texts("--skip_existing")) == (0, 0)
    assert {name: (case.cache / name).read_bytes() for name in case.names()} == before

    assert (case.latents(), case.texts()) == (0, 0)
    assert all((case.cache / name).read_bytes() != data for name, data in before.items())


def test_stale_caches_are_deleted(tmp_path: Path) -> None:
    case = Case(tmp_path, IMAGES)
    write_media(tmp_path, {"images/a.png": png(seed=1), "images/b.png": png(seed=2)})
    assert (case.latents(), case.texts()) == (0, 0)
    (tmp_path / "images/b.png").unlink()

    assert case.latents() == 0
    assert "b_wan_te.safetensors" in case.names()
    assert case.texts() == 0
    assert case.names() == ["a_0320x0192_wan.safetensors", "a_wan_te.safetensors"]


def test_the_same_media_give_the_same_bytes(tmp_path: Path) -> None:
    case = Case(tmp_path, VIDEOS)
    write_media(tmp_path, {"videos/a.mp4": mp4(12)})
    assert (case.latents(), case.texts()) == (0, 0)
    before = {name: (case.cache / name).read_bytes() for name in case.names()}

    assert (case.latents(), case.texts()) == (0, 0)

    assert {name: (case.cache / name).read_bytes() for name in case.names()} == before


def test_an_image_without_caption_is_left_out(tmp_path: Path) -> None:
    case = Case(tmp_path, IMAGES)
    write_media(tmp_path, {"images/a.jpg": jpeg(), "images/b.jpg": jpeg()})
    (tmp_path / "images/b.txt").unlink()

    assert case.latents() == 0
    assert case.names() == ["a_0320x0192_wan.safetensors"]


def test_progress_counts_samples(tmp_path: Path) -> None:
    case = Case(tmp_path, IMAGES)
    write_media(tmp_path, {"images/a.jpg": jpeg(), "images/b.jpg": jpeg()})
    line = [CACHE_TEXT, "--dataset_config", str(case.config), "--t5", str(tmp_path / "t5.pth")]

    code, events = run_observed(line, {})

    assert code == 0
    assert events == [CacheProgress(done=n, total=2) for n in range(3)]


def test_a_missing_caption_is_refused_in_musubis_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(tmp_path, VIDEOS)
    write_media(tmp_path, {"videos/clip a.mp4": mp4(10)})
    (tmp_path / "videos/clip a.txt").unlink()

    assert case.latents() == 1

    assert "No such file or directory: '" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("name", "dataset"), [("images/a.jpg", IMAGES), ("videos/a.mp4", VIDEOS)])
def test_broken_media_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, dataset: str
) -> None:
    case = Case(tmp_path, dataset)
    write_media(tmp_path, {name: (jpeg() if name.endswith("jpg") else mp4())[:500]})

    assert case.latents() == 1

    assert name in capsys.readouterr().err


def test_a_missing_media_directory_counts_as_empty(tmp_path: Path) -> None:
    case = Case(tmp_path, IMAGES)

    assert case.latents() == 0
    assert case.names() == []


def test_jsonl_datasets_bring_their_captions(tmp_path: Path) -> None:
    case = Case(tmp_path, 'resolution = 96\nimage_jsonl_file = "@/images.jsonl"')
    write_media(tmp_path, {"elsewhere/a.jpg": jpeg()})
    line = f'{{"image_path": "{tmp_path}/elsewhere/a.jpg", "caption": "from the list"}}\n'
    (tmp_path / "images.jsonl").write_text(line)

    assert (case.latents(), case.texts()) == (0, 0)

    header = tensor_file.read_header(case.cache / "a_wan_te.safetensors")
    assert header.metadata["caption1"] == "from the list"
