"""Versions made from versions: added files, chosen media, checked uploads, differences."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from storage.local.store import FolderStore
from tests import media
from training import store_keys
from training.dataset.decoding.thumbnail import BOX, Thumbnail
from training.dataset.difference import compare
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.original import as_original, why_not_original
from training.dataset.report import Report, Sample, no_progress
from training.dataset.zip.combine import ZipPart, combine
from training.errors import DatasetError, NotFoundError, RequestError
from training.registry import checked_uploads
from training.registry.checked_uploads import CheckedUploads
from training.registry.dataset_draft import DatasetDraft, TriggerChange, Upload, inspect_upload
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import Datasets

GUILD = "g"
FILES: Mapping[str, bytes | str] = {
    "set/images/a.png": media.png(),
    "set/images/a.txt": "ann1ka, one",
    "set/clip.MP4": media.mp4(33, fps=24, seed=3),
    "set/clip.txt": "ann1ka walks",
}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "home")


def a_part(tmp_path: Path, name: str, files: Mapping[str, bytes | str]) -> ZipPart:
    path = media.write_zip(tmp_path / name, files)
    return ZipPart(path, inspect_zip(path))


def an_upload(tmp_path: Path, files: Mapping[str, bytes | str] = FILES) -> Upload:
    path = media.write_zip(tmp_path / "annika.zip", files)
    return Upload(archive=path, by="7", file_name="annika.zip")


def a_sample(name: str, sha256: str = "0", caption: str = "x") -> Sample:
    return Sample(
        name=name, source=name, kind="image", caption=caption, sha256=sha256, width=64, height=64
    )


def a_report(*samples: Sample) -> Report:
    return Report(version="v", samples=samples, findings=())


def test_a_combined_zip_holds_the_bytes_of_both_with_their_captions(tmp_path: Path) -> None:
    old = a_part(tmp_path, "old.zip", FILES)
    more = {"b.png": media.png(seed=4), "b.txt": "two", "a.PNG": FILES["set/images/a.png"]}
    new = a_part(tmp_path, "new.zip", {**more, "a.txt": "ann1ka, one"})
    target = tmp_path / "both.zip"

    combined = combine(old, new, target, is_replacing=False)
    report = inspect_zip(target)

    assert (combined.added, combined.replaced) == (1, 0)
    assert [s.name for s in report.samples] == ["images/a.png", "images/b.png", "videos/clip.mp4"]
    assert {s.sha256 for s in report.samples} == {
        s.sha256 for part in (old, new) for s in part.report.samples
    }
    assert [s.caption for s in report.samples] == ["ann1ka, one", "two", "ann1ka walks"]
    again = tmp_path / "again.zip"
    combine(old, new, again, is_replacing=False)
    assert again.read_bytes() == target.read_bytes()


def test_a_file_of_the_same_name_is_replaced_only_when_asked(tmp_path: Path) -> None:
    old = a_part(tmp_path, "old.zip", FILES)
    jpeg = {"images/A.jpg": media.jpeg(seed=8), "images/A.txt": "another"}
    new = a_part(tmp_path, "new.zip", jpeg)
    target = tmp_path / "both.zip"

    with pytest.raises(DatasetError, match=r"images/A\.jpg is already in the dataset"):
        combine(old, new, target, is_replacing=False)
    assert not target.exists()
    combined = combine(old, new, target, is_replacing=True)

    assert (combined.added, combined.replaced) == (0, 1)
    with zipfile.ZipFile(target) as file:
        assert sorted(n for n in file.namelist() if "images" in n) == [
            "images/A.jpg",
            "images/A.txt",
        ]


def test_files_that_only_a_plain_name_makes_alike_are_kept_apart(tmp_path: Path) -> None:
    def numbered(start: int) -> dict[str, bytes | str]:
        files: dict[str, bytes | str] = {}
        for index, name in enumerate("\u56fe\u7247\u4e00\u4e8c"[start : start + 3]):
            files |= {f"s/{name}.png": media.png(seed=start + index), f"s/{name}.txt": name}
        return files

    apart = {
        "a/1.png": media.png(seed=7),
        "a/1.txt": "a",
        "b/1.png": media.png(seed=8),
        "b/1.txt": "b",
    }
    old = a_part(tmp_path, "old.zip", {**numbered(0), **apart})
    new = a_part(tmp_path, "new.zip", numbered(1))
    target = tmp_path / "both.zip"

    combined = combine(old, new, target, is_replacing=False)
    report = inspect_zip(target)

    assert (combined.added, combined.replaced) == (1, 0)
    assert sorted(sample.caption for sample in report.samples) == [
        "a", "b", "\u4e00", "\u4e8c", "\u56fe", "\u7247"
    ]  # fmt: skip
    assert "images/\u4e8c.png" in {sample.source for sample in report.samples}


def test_sets_are_combined_under_the_limits_of_the_installation(
    store: FolderStore, tmp_path: Path
) -> None:
    datasets = Datasets(store, Limits(files=20_000))
    files = {f"x/{n:05}.txt": "" for n in range(10_001)}
    datasets.add(GUILD, "annika", an_upload(tmp_path, {**FILES, **files}))
    more = an_upload(tmp_path, {"b.png": media.png(seed=4), "b.txt": "two"})

    second = DatasetEdits(datasets).extend(GUILD, "annika", more, is_replacing=False)

    assert (second.images, second.clips) == (2, 1)


def test_edits_keep_the_upload_and_earlier_versions(store: FolderStore, tmp_path: Path) -> None:
    datasets = Datasets(store)
    edits = DatasetEdits(datasets)
    upload = an_upload(tmp_path)
    first, _ = datasets.add(GUILD, "annika", upload)

    second = edits.set_trigger(GUILD, "annika", TriggerChange("ohwx", is_prefixed=True), by="8")
    more = an_upload(tmp_path, {"b.png": media.png(seed=4), "b.txt": "two, ohwx"})
    third = edits.extend(GUILD, "annika", more, is_replacing=False)

    assert datasets.find(GUILD, "annika@1") == first
    assert (second.edited_captions, second.trigger, second.added_by) == (2, "ohwx", "8")
    originals = [
        store.path(f"{store_keys.dataset(GUILD, 'annika', n)}/original.zip") for n in (1, 2)
    ]
    assert originals[0].read_bytes() == originals[1].read_bytes()
    assert originals[0].samefile(originals[1])
    captions = [s.caption for s in datasets.report(GUILD, third).samples]
    assert captions == ["ohwx, ann1ka, one", "two, ohwx", "ohwx, ann1ka walks"]
    assert (third.trigger, third.images, third.edited_captions) == ("ohwx", 2, 0)
    found, report = edits.check_again(GUILD, "annika@2", None, lambda _done, _total: None)
    assert report == datasets.report(GUILD, found)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("ann1ka, one", "ohwx, one"),
        ("one of Ann1ka, and ann1ka's dog", "one of ohwx, and ohwx's dog"),
        ("ohwx, ann1ka, one", "ohwx, one"),
        ("one, ohwx, ann1ka", "one, ohwx"),
        ("ann1kas garden", "ann1kas garden"),
        ("one", "one"),
    ],
)
def test_a_new_trigger_replaces_an_old_one_when_asked(
    store: FolderStore, tmp_path: Path, caption: str, expected: str
) -> None:
    datasets = Datasets(store)
    edits = DatasetEdits(datasets)
    upload = an_upload(tmp_path, {**FILES, "set/images/a.txt": caption})
    datasets.add(GUILD, "annika", replace(upload, trigger="ann1ka"))

    renamed = edits.set_trigger(GUILD, "annika", TriggerChange("ohwx", "ann1ka"), by="8")
    again = edits.set_trigger(GUILD, "annika", TriggerChange(is_prefixed=True), by="8")

    captions = [sample.caption for sample in datasets.report(GUILD, renamed).samples]
    assert captions == [expected, "ohwx walks"]
    assert renamed.trigger == "ohwx"
    captions = [sample.caption for sample in datasets.report(GUILD, again).samples]
    assert captions[0] == (expected if "ohwx" in expected else f"ohwx, {expected}")


def test_replacing_a_word_that_no_caption_has_is_refused(
    store: FolderStore, tmp_path: Path
) -> None:
    datasets = Datasets(store)
    datasets.add(GUILD, "annika", an_upload(tmp_path))

    with pytest.raises(RequestError, match="No caption contains the word 'anika'"):
        DatasetEdits(datasets).set_trigger(GUILD, "annika", TriggerChange("ohwx", "anika"), by="8")

    assert len(datasets.versions(GUILD, "annika")) == 1


def test_media_as_uploaded_have_a_content_id_of_their_own(
    store: FolderStore, tmp_path: Path
) -> None:
    datasets = Datasets(store)
    first, report = datasets.add(GUILD, "annika", an_upload(tmp_path))

    second = DatasetEdits(datasets).choose_media(GUILD, "annika", "original", by="7")

    assert why_not_original(report) is None
    assert (second.ref.media, second.number) == ("original", 2)
    assert second.version != first.version
    assert datasets.report(GUILD, second) == as_original(report)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.mp4": media.mp4(20, fps=8), "a.txt": "x"}, "too fast"),
        ({"a.mp4": media.mp4(33, fps=30)}, "caption"),
    ],
)
def test_a_set_that_cannot_be_kept_as_uploaded_says_why(
    files: Mapping[str, bytes | str], says: str, tmp_path: Path
) -> None:
    draft = inspect_upload(an_upload(tmp_path, files))

    assert says in str(why_not_original(draft.report))
    with pytest.raises(DatasetError, match=says):
        draft.with_media("original", by="7")


def test_a_checked_upload_is_kept_for_a_day(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = CheckedUploads(store)
    draft = inspect_upload(replace(an_upload(tmp_path), trigger="ohwx", is_prefixed=True))

    token = uploads.keep(GUILD, "annika", draft)
    name, found = uploads.find(GUILD, token)

    assert name == "annika"
    assert found == replace(draft, archive=found.archive)
    assert Datasets(store).names(GUILD) == []
    with pytest.raises(NotFoundError):
        uploads.find("another", token)
    monkeypatch.setattr(checked_uploads, "KEPT_HOURS", -1)
    with pytest.raises(NotFoundError, match="has expired"):
        uploads.find(GUILD, token)
    uploads.keep(GUILD, "annika", draft)
    assert len(store.names(store_keys.checked(GUILD))) == 1


def test_the_eleventh_checked_upload_removes_no_younger_one(
    store: FolderStore, tmp_path: Path
) -> None:
    uploads = CheckedUploads(store)
    path = an_upload(tmp_path).archive
    draft = DatasetDraft(archive=path, report=a_report(a_sample("a")), by="7", file_name="a.zip")

    tokens = [uploads.keep(GUILD, "annika", draft) for _ in range(12)]

    assert set(store.names(store_keys.checked(GUILD))) == set(tokens)


def test_the_difference_names_added_removed_renamed_and_changed_samples() -> None:
    old = a_report(
        *(a_sample("gone", "1"), a_sample("kept", "2"), a_sample("was", "3", "before")),
        *(a_sample("other", "4"), a_sample("told", "5", "before")),
    )
    new = a_report(
        *(a_sample("came", "6"), a_sample("kept", "2"), a_sample("now", "3", "after")),
        *(a_sample("other", "7"), a_sample("told", "5", "after")),
    )

    found = compare(old, new, {"told": "accepted"})

    assert (found.added, found.removed, found.replaced) == (("came",), ("gone",), ("other",))
    assert found.renamed == (("was", "now"),)
    assert [(c.name, c.before, c.after, c.origin) for c in found.captions] == [
        ("told", "before", "after", "accepted"),
        ("now", "before", "after", "written"),
    ]
    assert compare(old, old, {}).is_empty
    assert not found.is_empty


def test_thumbnails_are_upright_and_small_and_only_of_readable_samples(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = media.image_bytes(media.picture(640, 360), "JPEG", exif=exif)
    files = {"a.jpg": turned, "a.txt": "x", "b.mp4": b"not a clip", "b.txt": "x"}
    wide = {"c.mp4": media.mp4(33, width=640, height=160), "c.txt": "x"}
    pictures: dict[str, Thumbnail] = {}

    inspect_zip(
        media.write_zip(tmp_path / "a.zip", {**files, **wide}), on_thumbnail=pictures.__setitem__
    )

    sizes = {path: (picture.width, picture.height) for path, picture in pictures.items()}
    assert sizes == {"a.jpg": (101, BOX[1]), "c.mp4": (BOX[0], 80)}
    assert all(picture.image().getextrema() != ((0, 0),) * 3 for picture in pictures.values())


def test_a_thumbnail_with_missing_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="pixels are missing"):
        Thumbnail.model_validate({"width": 2, "height": 2, "rgb": b"AAAA"})


def test_stored_thumbnails_are_jpegs_of_our_own(tmp_path: Path) -> None:
    draft = inspect_upload(an_upload(tmp_path))

    assert set(draft.thumbnails.jpegs) == {"set/images/a.png", "set/clip.MP4"}
    for jpeg in draft.thumbnails.jpegs.values():
        assert Image.open(io.BytesIO(jpeg)).format == "JPEG"


def test_reading_the_layout_of_a_stored_version_keeps_its_edited_captions(
    store: FolderStore, tmp_path: Path
) -> None:
    files: dict[str, bytes | str] = {
        "20_ann1ka/a.png": media.png(seed=1),
        "20_ann1ka/a.txt": "one",
        "20_ann1ka/b.png": media.png(seed=2),
        "20_ann1ka/b.txt": "two",
        "reg/1_woman/c.png": media.png(seed=3),
        "reg/1_woman/c.txt": "three",
    }
    datasets = Datasets(store)
    edits = DatasetEdits(datasets)
    datasets.add(GUILD, "annika", an_upload(tmp_path, files))
    table = datasets.captions(GUILD, "annika")[1].replace(b",one", b",one more")
    edits.recaption(GUILD, "annika", table, trigger="ann1ka", by="7")

    version = edits.read_layout(GUILD, "annika", by="8")
    report = datasets.report(GUILD, version)

    assert str(version.ref) == "annika@3"
    assert (version.change, version.added_by) == ("annika@2 read as kohya folders", "8")
    assert version.trigger == "ann1ka"
    assert [(sample.name, sample.caption, sample.repeats) for sample in report.samples] == [
        ("images-20-repeats/a.png", "one more", 20),
        ("images-20-repeats/b.png", "two", 20),
    ]
    assert edits.check_again(GUILD, "annika", None, no_progress)[1].version == version.version
    with pytest.raises(RequestError, match="no other layout"):
        edits.read_layout(GUILD, "annika", by="8")
