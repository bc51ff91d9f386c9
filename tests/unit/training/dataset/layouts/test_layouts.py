"""Layouts of other tools are recognized and reported, and used if the user chooses them."""

import json
from pathlib import Path, PurePosixPath

import pytest

from tests import media
from tests.unit.training.dataset.layouts.zips import Files, lines, read
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.toml_file import render_toml
from training.dataset.config.user_toml import plan_user_toml
from training.dataset.inspect import inspect_zip
from training.dataset.repair import repair

TWO = {"a.png": b"x", "b.mp4": b"x"}
CAPTIONED = {"a.png": "one", "b.mp4": "two"}
TABLES: dict[str, Files] = {
    "Hugging Face imagefolder": {
        "metadata.jsonl": lines(
            {"file_name": "a.png", "text": "one"}, {"file_name": "b.mp4", "text": "two"}
        )
    },
    "Hugging Face imagefolder as CSV": {"metadata.csv": "file_name,text\na.png,one\nb.mp4,two\n"},
    "DiffSynth-Studio": {"metadata.csv": "video,prompt\na.png,one\nb.mp4,two\n"},
    "musubi-tuner": {
        "set.jsonl": lines(
            {"image_path": "C:\\data\\a.png", "caption": "one"},
            {"video_path": "/home/me/set/b.mp4", "caption": "two"},
        )
    },
    "VideoX-Fun": {
        "metadata.json": json.dumps(
            [
                {"file_path": "train/a.png", "text": "one", "type": "image"},
                {"file_path": "train/b.mp4", "text": "two", "type": "video"},
            ]
        )
    },
    "kohya-ss/sd-scripts": {
        "meta_cap.json": json.dumps({"/x/a": {"caption": "one"}, "/x/b": {"caption": "two"}})
    },
    "captions by name": {"captions.json": json.dumps({"a.png": "one", "b": "two"})},
    "lists of captions": {
        "data.jsonl": lines(
            {"path": "a.png", "captions": ["one", "uno"]}, {"path": "b.mp4", "cap": ["two"]}
        )
    },
    "German Excel": {"captions.csv": "\ufefffile;caption\r\na.png;one\r\nb.mp4;two\r\n"},
    "UTF-16 with tabs": {
        "captions.tsv": "file\tcaption\na.png\tone\nb.mp4\ttwo\n".encode("utf-16")
    },
    "finetrainers": {"prompts.txt": "one\ntwo\n", "videos.txt": "videos/a.png\nvideos/b.mp4\n"},
    "CSV without titles": {"captions.csv": "a.png,one\nb.mp4,two\n"},
    "JSON beside each": {
        "a.json": json.dumps({"caption": "one", "width": 512}),
        "b.json": json.dumps({"prompt": "two"}),
    },
    "a list with bars": {"list.txt": "a.png|one\nvideos/b.mp4|two\n"},
    "a list with colons": {"captions.txt": "a.png: one\nb.mp4: two\n"},
    "a folder of captions": {"captions/a.txt": "one", "captions/b.txt": "two"},
    "diffusion-pipe": {"captions.json": json.dumps({"a.png": ["one", "uno"], "b.mp4": ["two"]})},
    "Florence beside each": {
        "a.json": json.dumps({"<DETAILED_CAPTION>": "one"}),
        "b.json": json.dumps({"wd_caption": "two", "negative_prompt": "blurry"}),
    },
    "other extensions": {"a.cap": "one", "b.PROMPT": "two\n"},
    "named captions": {"a_caption.txt": "one", "b-prompt.txt": "two"},
    "captions with two endings": {"a.caption.txt": "one", "b.description.txt": "two"},
    "YAML": {"captions.yaml": "a.png: one\nb.mp4: 'two'\n".replace("'", "")},
    "titles in words": {"set.csv": "Image Name,My Caption\na,one\nb,two\n"},
    "titles in German": {"set.csv": "Datei;Beschreibung\na.png;one\nb.mp4;two\n"},
    "titles in Japanese": {"set.csv": "ファイル名,キャプション\na.png,one\nb.mp4,two\n"},
    "captions first": {"set.csv": "one,a.png\ntwo,b.mp4\n"},
    "an index column": {"set.csv": ",file_name,caption\n0,a.png,one\n1,b.mp4,two\n"},
    "paths of addresses": {
        "set.jsonl": lines(
            {"url": "https://x.org/%61.png", "text": "one"}, {"url": "b.mp4", "text": "two"}
        )
    },
}


@pytest.mark.parametrize("tool", TABLES)
def test_captions_of_other_tools_reach_their_images_and_clips(tmp_path: Path, tool: str) -> None:
    readings, captions = read(tmp_path, {**TWO, **TABLES[tool]})

    assert captions == CAPTIONED
    (reading,) = readings
    assert set(reading.sources) == set(TABLES[tool])


def test_all_tags_of_a_row_are_its_caption(tmp_path: Path) -> None:
    rows = lines({"file_name": "a.png", "tags": ["1girl", "red hair"]})

    assert read(tmp_path, {**TWO, "set.jsonl": rows})[1]["a.png"] == "1girl, red hair"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("metadata.csv", "video,prompt,reference_image\nb.mp4,two,a.png\n"),
        ("set.jsonl", lines({"video_path": "b.mp4", "control_path": "/d/a.png", "caption": "two"})),
    ],
)
def test_control_files_of_a_table_are_not_samples(tmp_path: Path, name: str, table: str) -> None:
    (reading,), captions = read(tmp_path, {**TWO, name: table})

    assert captions == {"b.mp4": "two"}
    assert reading.left_out == {"a.png": "control images"}


def test_a_text_named_after_a_folder_captions_its_files(tmp_path: Path) -> None:
    _, captions = read(tmp_path, {"ann/a.png": b"x", "b.png": b"x", "ann.txt": "ann1ka"})

    assert captions == {"ann/a.png": "ann1ka", "b.png": None}


def test_one_caption_for_all_applies_to_all_files_below(tmp_path: Path) -> None:
    readings, captions = read(tmp_path, {**TWO, "c/d.png": b"x", "caption.txt": "ann1ka"})

    assert captions == dict.fromkeys(("a.png", "b.mp4", "c/d.png"), "ann1ka")
    assert [reading.name for reading in readings] == ["one caption.txt for all"]


def test_rows_that_cannot_be_read_or_placed_are_named(tmp_path: Path) -> None:
    rows = lines(
        {"file_name": "a.png", "text": "first"},
        {"file_name": "gone.png", "text": "three"},
        {"file_name": "a.png", "text": "one\u2028line"},
        {"file_name": "b.mp4", "text": "two"},
    )

    (reading,), captions = read(tmp_path, {**TWO, "metadata.jsonl": rows + '\n{"file_name": "c'})

    assert captions == {"a.png": "one\u2028line", "b.mp4": "two"}
    assert reading.remarks == (
        '1 row cannot be read: {"file_name": "c',
        "1 row without a file in the zip: gone.png",
        "several rows name the same file, and the last one counts: a.png",
    )


def test_one_caption_for_a_folder_is_nearer_than_one_for_all(tmp_path: Path) -> None:
    files = {**TWO, "c/d.png": b"x", "caption.txt": "all", "c/caption.txt": "inner"}

    _, captions = read(tmp_path, files)

    assert captions == {"a.png": "all", "b.mp4": "all", "c/d.png": "inner"}


def test_captions_beside_their_files_take_precedence_over_a_table(tmp_path: Path) -> None:
    table = lines({"file_name": "a.png", "text": "one"}, {"file_name": "b.mp4", "text": "two"})

    _, captions = read(tmp_path, {**TWO, "a.txt": "mine", "metadata.jsonl": table})

    assert captions == {"a.png": "file", "b.mp4": "two"}


def test_equal_names_in_two_folders_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    files = {f"{folder}/1.png": b"x" for folder in ("front", "side")}
    table = lines(
        {"file_name": "data/front/1.png", "text": "one"}, {"file_name": "side/1.png", "text": "two"}
    )

    _, captions = read(tmp_path, {**files, "metadata.jsonl": table})

    assert captions == {"front/1.png": "one", "side/1.png": "two"}


@pytest.mark.parametrize(
    "files",
    [
        {"images/1.png": b"x", "images/1.txt": "y"},
        {"a.png": b"x", "a.txt": "y", "notes.csv": "a,b\n1,2\n", "settings.json": '{"x": 1}'},
        {"a.png": b"x", "readme.txt": "What this is."},
        {"01_front/a.png": b"x", "02_side/b.png": b"x", "2024_summer/c.png": b"x"},
        {"a.png": b"x", "broken.json": "{", "deep.json": "[" * 100_000, "noise.jsonl": b"\xff\0"},
        {"masks/a.png": b"x", "masks/b.png": b"x"},
        {"pose/a.png": b"x", "pose/a.txt": "y"},
        {"pose/a.png": b"x", "pose/a.txt": "y", "face/a.png": b"x", "face/a.txt": "z"},
        {"a/1.heic": b"x", "a/1.txt": "y", "b/1.png": b"x"},
        {"a.png": b"x", "a.json": '{"nodes": [{"id": 1, "widgets_values": ["y"]}], "links": []}'},
        {"a.png": b"x", "b.png": b"x", "sample_prompts.txt": "ohwx woman, --w 512 --h 512"},
        {"IMG_2034.png": b"x", "Screenshot 2024-01-02 at 10.11.12.png": b"x"},
        {"ann1ka.png": b"x", "notes.txt": "ann1ka, smiling, was lent by her aunt\nnot for resale"},
        {"a.png": b"x", "a.txt": "y", "b and c.png": b"x"},
    ],
)
def test_a_plain_set_has_no_other_layout(tmp_path: Path, files: Files) -> None:
    assert read(tmp_path, files)[0] == ()


def test_kohya_folders_give_repeats_words_and_no_regularization_images(tmp_path: Path) -> None:
    files = {
        "img/20_ann1ka woman/1.png": b"x",
        "img/20_ann1ka woman/2.png": b"x",
        "img/20_ann1ka woman/2.txt": "written",
        "img/5_ann1ka woman/close/3.png": b"x",
        "reg/1_woman/1.png": b"x",
        "reg/1_woman/1.txt": "a woman",
    }

    (reading,), captions = read(tmp_path, files)

    assert reading.repeats == {
        "img/20_ann1ka woman/1.png": 20,
        "img/20_ann1ka woman/2.png": 20,
        "img/5_ann1ka woman/close/3.png": 5,
    }
    assert captions == {
        "img/20_ann1ka woman/1.png": "ann1ka woman",
        "img/20_ann1ka woman/2.png": "file",
        "img/5_ann1ka woman/close/3.png": "ann1ka woman",
    }
    assert reading.left_out == {"reg/1_woman/1.png": "regularization images"}


@pytest.mark.parametrize(
    ("helper", "kind"),
    [
        ("masks/1.png", "masks"),
        ("images/1-masklabel.png", "masks"),
        ("images/1_mask.png", "masks"),
        ("images/mask_1.png", "masks"),
        ("alpha/1.png", "masks"),
        ("mask_images/1.png", "masks"),
        ("conditioning/1.png", "control images"),
        ("conditioning_images/1.png", "control images"),
        ("control_2/1.png", "control images"),
        ("_controls/1.depth.jpg", "control images"),
        ("depth maps/1.png", "control images"),
        ("first_frames/1.png", "control images"),
        ("references/1.png", "control images"),
        ("samples/e10.png", "previews"),
        ("thumbnails/1.jpg", "previews"),
        ("images/1-condlabel.png", "control images"),
        ("images/1_depth.png", "control images"),
        ("images/1.openpose.png", "control images"),
        ("images/1_alpha.png", "masks"),
        ("hint/1.png", "control images"),
    ],
)
def test_helpers_of_other_files_are_left_out(tmp_path: Path, helper: str, kind: str) -> None:
    files = {"images/1.png": b"x", "images/1.txt": "ann1ka", helper: b"x"}

    (reading,), captions = read(tmp_path, files)

    assert reading.left_out == {helper: kind}
    assert captions == {"images/1.png": "file"}


def test_a_folder_named_like_helpers_has_samples_if_a_table_captions_them(tmp_path: Path) -> None:
    rows = lines(
        {"file_name": "pose/1.png", "text": "one"}, {"file_name": "face/1.png", "text": "two"}
    )

    readings, captions = read(
        tmp_path, {"pose/1.png": b"x", "face/1.png": b"x", "metadata.jsonl": rows}
    )

    assert captions == {"pose/1.png": "one", "face/1.png": "two"}
    assert [reading.left_out for reading in readings] == [{}]


@pytest.mark.parametrize(
    "folder", ["class/1_woman", "class_images", "regimages", "reg_data", "prior_images"]
)
def test_class_images_are_regularization_images(tmp_path: Path, folder: str) -> None:
    files = {"10_ann1ka/1.png": b"x", f"{folder}/1.png": b"x"}

    (reading,), _ = read(tmp_path, files)

    assert reading.left_out == {f"{folder}/1.png": "regularization images"}


def kohya_zip(folder: Path) -> Path:
    files: dict[str, bytes | str] = {}
    for index in range(4):
        files[f"img/20_ann1ka woman/{index}.png"] = media.png(seed=index)
        files[f"img/20_ann1ka woman/{index}.txt"] = f"ann1ka {index}"
        files[f"reg/1_woman/{index}.png"] = media.png(seed=50 + index)
        files[f"reg/1_woman/{index}.txt"] = f"a woman {index}"
    files["img/3_ann1ka woman/clip.mp4"] = media.mp4(49)
    files["img/1_ann1ka woman/9.png"] = media.png(seed=9)
    return media.write_zip(folder / "kohya.zip", files)


def test_a_layout_is_only_reported_until_the_user_chooses_it(tmp_path: Path) -> None:
    path = kohya_zip(tmp_path)

    plain, chosen = inspect_zip(path), inspect_zip(path, reads_layout=True)

    assert (len(plain.images), len(chosen.images)) == (9, 5)
    assert "layout-found" in plain.codes()
    assert plain.has_unread_layout
    (said,) = [finding for finding in chosen.findings if finding.code == "layout-read"]
    assert said.cause == (
        "Read as kohya folders: 2 captions; 4 samples count 20 times in an epoch; 1 sample counts "
        "3 times in an epoch; 1 sample counts once in an epoch; 4 regularization images in "
        "reg/1_woman left out."
    )
    assert {sample.repeats for sample in chosen.images} == {20, 1}
    assert chosen.is_usable
    assert not chosen.has_unread_layout


def test_files_left_out_are_counted_with_their_folders(tmp_path: Path) -> None:
    files: Files = {"a.png": media.png(), "a.txt": "ann1ka", "a_mask.png": media.png(seed=1)}
    more = {"masks/a.png": media.png(seed=2), "depth/a.png": media.png(seed=3)}

    report = inspect_zip(media.write_zip(tmp_path / "a.zip", {**files, **more}))

    (said,) = [finding for finding in report.findings if finding.code == "layout-found"]
    assert said.cause == (
        "This can be read as samples with helper files: 1 control image in depth left out; "
        "2 masks in the top folder, masks left out."
    )


def test_repeats_become_those_of_the_training_groups(tmp_path: Path) -> None:
    report = inspect_zip(kohya_zip(tmp_path), reads_layout=True)

    plan = plan_groups(report)
    toml = render_toml(plan, media=PurePosixPath("/m"), caches=PurePosixPath("/c"))
    own = plan_user_toml(
        '[[datasets]]\nimage_directory = "x"\nresolution = 512\nnum_repeats = 2\n', report
    )

    assert {group.folder: group.num_repeats for group in plan.groups} == {
        "images": 1,
        "images-20-repeats": 20,
        "videos-3-repeats": 3,
    }
    by_kind = {group.name: len(group.items) * group.num_repeats for group in plan.groups}
    assert by_kind["images-20-repeats"] == 80
    assert plan.steps_per_epoch == sum(by_kind.values())
    assert "num_repeats = 20" in toml
    assert {group.name: group.num_repeats for group in own.plan.groups} == {
        "1-images": 2,
        "1-images-20-repeats": 40,
    }
    assert "toml-repeats" in [finding.code for finding in own.findings]


def test_a_repaired_set_zipped_again_keeps_its_repeats(tmp_path: Path) -> None:
    path = kohya_zip(tmp_path)
    report = inspect_zip(path, reads_layout=True)
    repair(path, report, tmp_path / "set")
    files = {p.relative_to(tmp_path / "set").as_posix(): p.read_bytes()
             for p in (tmp_path / "set").rglob("*") if p.is_file()}  # fmt: skip

    again = inspect_zip(media.write_zip(tmp_path / "again.zip", files))

    assert {s.name: (s.caption, s.repeats) for s in again.samples} == {
        s.name: (s.caption, s.repeats) for s in report.samples
    }
    assert again.layout is None
