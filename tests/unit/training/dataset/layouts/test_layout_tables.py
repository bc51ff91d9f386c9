"""Tables and lists of captions from other programs, told by their content."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.training.dataset.layouts.zips import Files, lines, read

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description><dc:{0}><rdf:{1}>
<rdf:li xml:lang="x-default">one &amp; only</rdf:li></rdf:{1}></dc:{0}></rdf:Description>
</rdf:RDF></x:xmpmeta>"""
# By the program or the habit: the file, which captions a.png with "one" and b.png with "two".
TABLES: dict[str, Files] = {
    "COCO": {
        "captions_train.json": json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
                "annotations": [
                    {"id": 8, "image_id": 1, "caption": "one"},
                    {"id": 9, "image_id": 2, "caption": "two"},
                ],
            }
        )
    },
    "Flickr8k": {"captions.txt": "image,caption\na.png,one\nb.png,two\n"},
    "Flickr30k": {"results.csv": "image_name| number| comment\na.png| 0| one\nb.png| 0| two"},
    "Flickr30k tokens": {"results.token": "a.png#0\tone\nb.png#0\ttwo\n"},
    "LLaVA": {
        "train.json": json.dumps(
            [
                {
                    "image": name,
                    "conversations": [
                        {"from": "human", "value": "<image>\nDescribe it."},
                        {"from": "gpt", "value": text},
                    ],
                }
                for name, text in (("a.png", "one"), ("b.png", "two"))
            ]
        )
    },
    "chat messages": {
        "data.jsonl": lines(
            *(
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "image"}]},
                        {"role": "assistant", "content": [{"type": "text", "text": text}]},
                    ],
                    "images": [name],
                }
                for name, text in (("a.png", "one"), ("b.png", "two"))
            )
        )
    },
    "PaliGemma": {
        "_annotations.train.jsonl": lines(
            {"image": "a.png", "prefix": "caption en", "suffix": "one"},
            {"image": "b.png", "prefix": "caption en", "suffix": "two"},
        )
    },
    "Label Studio": {
        "project-1.json": json.dumps(
            [
                {"image": "/data/upload/1/3fa8c1d2-a.png", "caption": "one"},
                {"image": "/data/upload/1/9b1c22aa-b.png", "caption": "two"},
            ]
        )
    },
    "Excel's Unicode text": {
        "captions.txt": "file\tcaption\r\na.png\tone\r\nb.png\ttwo\r\n".encode("utf-16")
    },
    "Excel's line of the separator": {
        "captions.csv": "sep=;\r\nfile;caption\r\na.png;one\r\nb.png;two\r\n"
    },
    "spaces behind commas": {"captions.csv": 'file, caption\n"a.png", "one"\n"b.png", "two"\n'},
    "pandas by columns": {
        "df.json": json.dumps(
            {"file_name": {"0": "a.png", "1": "b.png"}, "text": {"0": "one", "1": "two"}}
        )
    },
    "pandas by lists": {
        "df.json": json.dumps({"image": ["a.png", "b.png"], "text": ["one", "two"]})
    },
    "pandas split": {
        "df.json": json.dumps(
            {
                "columns": ["file_name", "text"],
                "index": [0, 1],
                "data": [["a.png", "one"], ["b.png", "two"]],
            }
        )
    },
    "pandas by index": {
        "df.json": json.dumps(
            {"0": {"image": "a.png", "caption": "one"}, "1": {"image": "b.png", "caption": "two"}}
        )
    },
    "JSON Lines called JSON": {
        "df.json": lines({"image": "a.png", "caption": "one"}, {"image": "b.png", "caption": "two"})
    },
    "captions inside an object": {
        "set.json": json.dumps({"version": 1, "captions": {"a.png": "one", "b.png": "two"}})
    },
    "pairs": {"captions.json": json.dumps([["a.png", "one"], ["b.png", "two"]])},
    "JSON called text": {"captions.txt": json.dumps({"a.png": "one", "b.png": "two"})},
    "NDJSON": {
        "set.ndjson": lines(
            {"file": "a.png", "caption": "one"}, {"file": "b.png", "caption": "two"}
        )
    },
    "other extensions in the table": {"m.csv": "file,caption\na.jpg,one\nb.jpeg,two\n"},
    "addresses with queries": {
        "m.csv": "url,caption\nhttps://x.org/i/a.png?w=512,one\nhttps://x.org/b.png#x,two\n"
    },
    "addresses of files": {
        "m.jsonl": lines(
            {"image": "file:///C:/data/a.png", "text": "one"},
            {"image": "s3://x/b.png", "text": "two"},
        )
    },
    "columns of unknown names": {"m.csv": "clip_id,dense_caption\na,one\nb,two\n"},
    "other columns": {"m.csv": "video,caption,score,fps\na.png,one,5,24\nb.png,two,5,24"},
    "a short and a long caption": {
        "m.csv": "image,caption_short,caption_long\na.png,x,one\nb.png,y,two\n"
    },
    "a YAML list": {"set.yaml": "- file: a.png\n  caption: 'one'\n- file: b.png\n  caption: two\n"},
    "quoted YAML": {"captions.yaml": "a.png: \"one\"\nb.png: 'two'\n"},
    "a list in Markdown": {"captions.md": "a.png: one\nb.png: two\n"},
    "a log": {"captions.log": "a.png -> one\nb.png -> two\n"},
    "a list with spaces": {"captions.txt": "a.png one\nb.png two\n"},
    "a list of stems": {"captions.txt": "a: one\nb: two\n"},
    "JSON beside each, by its whole name": {
        "a.png.json": json.dumps({"category": "x", "tag_string": "one"}),
        "b.png.json": json.dumps({"tag_string": "two"}),
    },
}


@pytest.mark.parametrize("program", TABLES)
def test_tables_are_told_by_their_content(tmp_path: Path, program: str) -> None:
    readings, captions = read(tmp_path, {"a.png": b"x", "b.png": b"x", **TABLES[program]})

    assert captions == {"a.png": "one", "b.png": "two"}
    (reading,) = readings
    assert set(reading.sources) == set(TABLES[program])
    assert reading.remarks == ()


@pytest.mark.parametrize(
    ("files", "captions"),
    [
        ({"m.csv": "file,caption\na.png,one, x, y\nb.png,two\n"}, ("one, x, y", "two")),
        ({"m.csv": "a.png,one, x, y\nb.png,two\n"}, ("one, x, y", "two")),
        ({"m.csv": "file,caption,fps\na.png,one, x,24\nb.png,two,24\n"}, ("one, x", "two")),
        ({"m.csv": 'file,caption\na.png,"one\nmore"\nb.png,two\n'}, ("one\nmore", "two")),
        ({"m.txt": "a.png\tone, x\nb.png\ttwo, y, z\n"}, ("one, x", "two, y, z")),
    ],
)
def test_commas_in_captions_cut_nothing_off(
    tmp_path: Path, files: Files, captions: tuple[str, str]
) -> None:
    _, found = read(tmp_path, {"a.png": b"x", "b.png": b"x", **files})

    assert (found["a.png"], found["b.png"]) == captions


PLACED: Mapping[str, tuple[Files, Mapping[str, str]]] = {
    "splits with the same names": (
        {
            "train/a.png": b"x",
            "train/metadata.jsonl": lines({"file_name": "a.png", "text": "one"}),
            "test/a.png": b"x",
            "test/metadata.jsonl": lines({"file_name": "a.png", "text": "two"}),
        },
        {"train/a.png": "one", "test/a.png": "two"},
    ),
    "accents of macOS": (
        {"\u00e9.png": b"x", "b.png": b"x", "m.csv": "file,caption\ne\u0301.png,one\nb.png,two\n"},
        {"\u00e9.png": "one", "b.png": "two"},
    ),
    "zeros that a spreadsheet dropped": (
        {"001.png": b"x", "012.png": b"x", "m.csv": "file,caption\n1,one\n12,two\n"},
        {"001.png": "one", "012.png": "two"},
    ),
    "sources of ControlNet": (
        {
            **dict.fromkeys(("source/0.png", "target/0.png", "source/1.png", "target/1.png"), b"x"),
            "prompt.json": lines(
                {"source": "source/0.png", "target": "target/0.png", "prompt": "one"},
                {"source": "source/1.png", "target": "target/1.png", "prompt": "two"},
            ),
        },
        {"target/0.png": "one", "target/1.png": "two"},
    ),
    "Lightroom": (
        {"a.png": b"x", "a.xmp": XMP.format("description", "Alt")},
        {"a.png": "one & only"},
    ),
    "keywords": ({"a.png": b"x", "a.xmp": XMP.format("subject", "Bag")}, {"a.png": "one & only"}),
    "Dreambooth": (
        {
            "instance_images/1.png": b"x",
            "class_images/1.png": b"x",
            "instance_prompt.txt": "a photo of ohwx",
        },
        {"instance_images/1.png": "a photo of ohwx"},
    ),
    "a token for all": (
        {"1.png": b"x", "2.png": b"x", "instance_token.txt": "ann1ka"},
        {"1.png": "ann1ka", "2.png": "ann1ka"},
    ),
    "file names": (
        {"a woman on a bench.png": b"x", "a_photo_of_ann1ka_in_paris_002.png": b"x"},
        {
            "a woman on a bench.png": "a woman on a bench",
            "a_photo_of_ann1ka_in_paris_002.png": "a photo of ann1ka in paris",
        },
    ),
}


@pytest.mark.parametrize("kind", PLACED)
def test_captions_find_their_files(tmp_path: Path, kind: str) -> None:
    files, captions = PLACED[kind]

    assert read(tmp_path, files)[1] == captions
