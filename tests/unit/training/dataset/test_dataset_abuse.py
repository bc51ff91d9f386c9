"""Hostile uploads are refused in a sentence and leave nothing on this machine."""

import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from tests.examples import examples
from tests.media import encode_clip, image_bytes, jpeg, mp4, picture, png, write_zip, zip_bytes
from tests.unit.training.dataset.flawed_media import VP9, walk
from training.dataset.decoding import pool as pool_module
from training.dataset.decoding.messages import Probe
from training.dataset.decoding.pool import Pool
from training.dataset.findings.findings import Noted
from training.dataset.findings.rules import RULES
from training.dataset.findings.whole_set import judge_set
from training.dataset.inspect import TooSlowError, inspect_zip
from training.dataset.limits import Limits
from training.dataset.report import MediaFacts, Sample
from training.dataset.zip.archive import open_archive
from training.dataset.zip.members import Names, lay_out
from training.errors import DatasetError
from training.files.sizes import GIB, MIB
from training.registry.dataset_draft import Upload

OVER: dict[str, tuple[dict[str, float], Callable[[], bytes], str]] = {
    "files": ({"dataset_files": 2}, lambda: zip_bytes(dict.fromkeys("abc", "")), "lists 3 files"),
    "bytes": (
        {"dataset_zip_gib": 1 / 1024}, lambda: zip_bytes({"a.png": noise(1_200_000)}),
        r"size of 1\.1 MiB; the limit is 1\.0 MiB"),
    "unpacked bytes": (
        {"dataset_unpacked_gib": 1}, lambda: claiming(3 * GIB), r"would take 3\.0 GiB; the limit"),
    "ratio": ({"dataset_ratio": 50}, lambda: claiming(70 * MIB), "looks like a zip bomb"),
    "pixels": ({"image_megapixels": 0.1}, lambda: one("a.png", png(512, 480)), "512 x 480"),
    "pixels of a clip": ({"clip_megapixels": 0.01}, lambda: one("a.mp4", mp4(5)), "320 x 192"),
    "seconds": ({"clip_seconds": 1}, lambda: one("a.mp4", mp4(33)), "over 1 s"),
}  # fmt: skip


def one(name: str, content: bytes) -> bytes:
    return zip_bytes({name: content, "a.txt": "ann1ka"})


def noise(count: int) -> bytes:
    return random.Random(0).randbytes(count)


def claiming(size_bytes: int) -> bytes:
    """A zip whose only file claims this unpacked size."""
    content = bytearray(zip_bytes({"a.mp4": noise(500_000)}))
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size_bytes)
    return bytes(content)


@pytest.mark.parametrize("case", OVER)
def test_each_limit_is_a_setting_and_is_named_when_it_is_passed(tmp_path: Path, case: str) -> None:
    changed, make, words = OVER[case]
    path = tmp_path / "upload.zip"
    path.write_bytes(make())
    local = LocalInstallation(Settings.model_validate({"home": tmp_path / "home", **changed}))
    upload = Upload(archive=path, by="7", file_name="upload.zip")

    with pytest.raises(DatasetError, match=words):
        local.datasets.add("guild", "annika", upload)

    assert local.datasets.names("guild") == []
    assert local.runtime.limits == local.settings.limits


def test_a_set_that_takes_too_long_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": png(512, 480), "a.txt": "ann1ka"})

    with pytest.raises(TooSlowError, match="limit of 0 s"):
        inspect_zip(path, limits=Limits(inspection_seconds=0))

    assert Settings(dataset_seconds=5).limits.inspection_seconds == 5


def test_the_settings_defaults_are_the_limits_defaults() -> None:
    assert Settings().limits == Limits()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(Limits(workers=1), files=1, size_bytes=1, most=1) as pool:
        yield pool


def probe(path: Path) -> Probe:
    kind = "video" if path.suffix in (".mp4", ".webm") else "image"
    return Probe(kind=kind, path=str(path), extension=path.suffix, threads=2)


def has_open(process: psutil.Process, path: Path) -> bool:
    opened = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(descriptor.readlink() == path for descriptor in opened)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_dies_loses_only_its_own_answer(
    tmp_path: Path, pool: Pool, end: signal.Signals
) -> None:
    pipe, image = tmp_path / "x.mp4", tmp_path / "x.png"
    os.mkfifo(pipe)
    image.write_bytes(png(512, 480))

    pending = pool.submit(probe(pipe))
    writer = os.open(pipe, os.O_WRONLY)  # waits until the decoder has opened it and is working
    (decoder,) = (p for p in psutil.Process().children() if has_open(p, pipe))
    decoder.send_signal(end)
    died = pending.result(60)
    os.close(writer)
    next_one = pool.submit(probe(image)).result(60)

    assert (died.facts, died.failure) == (None, "crashed the decoder")
    assert next_one.facts is not None
    assert next_one.facts.width == 512


def test_an_invalid_answer_ends_only_its_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "x.png"
    image.write_bytes(png(512, 480))
    start = pool_module.start_worker

    def start_liar(_limits: Limits) -> subprocess.Popen[str]:
        monkeypatch.setattr(pool_module, "start_worker", start)
        script = 'input(); print(\'{"facts": {"width": "wide"}}\')'
        return subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    monkeypatch.setattr(pool_module, "start_worker", start_liar)
    with Pool(Limits(workers=1), files=1, size_bytes=1, most=1) as pool:
        lied = pool.submit(probe(image)).result(60)
        next_one = pool.submit(probe(image)).result(60)

    assert lied.failure == "crashed the decoder"
    assert next_one.facts is not None


def test_each_sample_is_compared_with_all_earlier_ones_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, compare = random.Random(0), np.bitwise_count
    pairs = [a_pair(f"{index}.png", (rng.getrandbits(64),)) for index in range(500)]
    copied = [*pairs[:-1], a_pair("copy.png", pairs[7][1].prints)]
    noted: list[Noted] = []
    compared: list[int] = []

    def count(differing: NDArray[np.uint64]) -> NDArray[np.uint8]:
        compared.append(len(differing))
        return compare(differing)

    monkeypatch.setattr(np, "bitwise_count", count)

    judge_set(copied, len(copied), None, noted)

    assert [(n.path, n.note.detail) for n in noted if "duplicate" in n.note.code] == [
        ("copy.png", "like 7.png")
    ]
    assert compared == list(range(len(copied)))  # one by one, 5,000 samples would take a minute


def test_captions_that_are_too_long_together_are_not_read(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {}
    for index in range(6):
        caption = ", ".join(f"view {number} of {index}" for number in range(70))
        files |= {f"{index}.png": png(512, 480, seed=index), f"{index}.txt": caption}

    report = inspect_zip(write_zip(tmp_path / "set.zip", files), limits=Limits(captions_bytes=4500))

    assert [len(sample.caption) > 0 for sample in report.samples] == [True] * 4 + [False] * 2
    (finding,) = report.errors
    assert finding.code == "unreadable-caption"
    assert "4.png (all captions together are too long)" in finding.cause


def test_a_file_that_needs_too_much_memory_is_named_and_the_others_are_fine(
    tmp_path: Path,
) -> None:
    files = {"big.png": image_bytes(Image.new("1", (7000, 7000))), "big.txt": "big"}
    for index in range(5):
        files |= {f"{index}.png": png(512, 480, seed=index), f"{index}.txt": f"ann1ka {index}"}

    report = inspect_zip(
        write_zip(tmp_path / "set.zip", files),
        limits=Limits(worker_bytes=350 * MIB, workers=1),
    )

    assert report.codes() == ["corrupt-image"]
    assert report.findings[0].file == "big.png"
    assert len(report.samples) == 5


def a_pair(name: str, prints: tuple[int, ...]) -> tuple[Sample, MediaFacts]:
    sample = Sample(
        name=f"images/{name}", source=name, kind="image", caption=name, sha256=name,
        width=640, height=480,
    )  # fmt: skip
    return sample, MediaFacts(kind="image", extension=".png", prints=prints)


MEDIA = {
    "x.png": png(96, 80),
    "x.jpg": jpeg(96, 80),
    "x.webp": image_bytes(picture(96, 80), "WEBP"),
    "x.mp4": mp4(5, width=96, height=80),
    "x.webm": encode_clip(walk(5, seed=1, width=96, height=80), stored=VP9),
}


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(sorted(MEDIA)), seed=st.integers(0, 2**32), changes=st.integers(1, 40))
def test_damaged_media_give_facts_with_known_codes(
    tmp_path: Path, pool: Pool, name: str, seed: int, changes: int
) -> None:
    mutated, rng = bytearray(MEDIA[name]), random.Random(seed)
    for _ in range(changes):
        mutated[rng.randrange(len(mutated))] = rng.randrange(256)
    path = tmp_path / name
    path.write_bytes(mutated)

    reply = pool.submit(probe(path)).result(60)

    assert reply.facts is not None
    assert {note.code for note in reply.facts.notes} <= set(RULES)


PARTS = st.sampled_from(["..", ".", "a", "A", "images", "videos", " ", "é", "\\", "con", "-", "~"])
# zipfile itself cuts a name at a zero byte; such names are in the table of refused zips.
NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=80)
ENDINGS = st.sampled_from([".png", ".mp4", ".PNG", ".tar.png", ""])


def path_of(parts: list[str], stem: str, ending: str) -> str:
    return "/".join((*parts, stem + ending))


PATHS = st.builds(path_of, st.lists(PARTS, max_size=4), NAMES, ENDINGS)


@settings(max_examples=examples(200), deadline=None)
@given(paths=st.lists(PATHS, min_size=1, max_size=6, unique=True))
def test_new_names_lie_inside_the_set_for_any_file_names(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str]
) -> None:
    path = write_zip(tmp_path_factory.getbasetemp() / "names.zip", dict.fromkeys(paths, b"x"))
    try:
        with open_archive(path, Limits()) as archive:
            layout = lay_out(archive.members, archive.junk)
    except DatasetError:
        return
    names = Names()

    given_names = [PurePosixPath(names.name(medium, ".png")[0]) for medium in layout.media]

    assert len({str(name).casefold() for name in given_names}) == len(given_names)
    for name in given_names:
        assert len(name.parts) == 2
        assert name.parts[0] in ("images", "videos")
        assert str(name).isascii()
        assert not name.name.startswith((".", "-"))
