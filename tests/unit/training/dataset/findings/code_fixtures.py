"""A fixture for every code: media and captions made on the fly, and whole zips."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tests.icc import with_chunk
from tests.media import encode_clip, image_bytes, png, zip_bytes
from tests.unit.training.dataset.findings.caption_sets import SETS as SETS_OF_CAPTIONS
from tests.unit.training.dataset.flawed_media import (
    MPEG_TS,
    SEE_THROUGH,
    TEN_BIT,
    Make,
    animated,
    barred,
    blurred,
    caption,
    captioned_by,
    clip,
    coded,
    copies,
    cut,
    cut_off,
    cut_without_encoding,
    faded,
    fields,
    flash,
    frozen,
    hdr_avif,
    hdr_inside,
    hdr_png,
    hour,
    image,
    joined,
    layered,
    lookalikes,
    lying,
    on_its_side,
    opaque,
    paged,
    paused,
    photo,
    plain,
    saved,
    see_through,
    sixteen_bit,
    soft,
    sound_alone,
    stored,
    tracks,
    turned,
    twins,
    uneven,
    vp9,
    walk,
    wide_profile,
    with_hole,
)
from tests.unit.training.dataset.zip.stored_names import Stored, zip_of

CASES: dict[str, tuple[str, Make]] = {
    "a sharp image": ("", lambda s: plain(s)),
    "a moving clip": ("", lambda s: stored(walk(seed=s))),
    "a VP9 clip in WebM": ("", lambda s: vp9(s, "x.webm")),
    "a clip in full colour": ("", lambda s: stored(walk(seed=s), pix_fmt="yuv444p")),
    "a WebP image": ("", lambda s: saved(s, "WEBP", "x.webp", quality=95)),
    "a greyscale image": ("", lambda s: image(image_bytes(photo(s).convert("L")))),
    "a dark clip": ("", lambda s: clip(encode_clip([f // 6 for f in walk(seed=s)]))),
    "an ending in capitals": ("", lambda s: plain(s, "X.PNG")),
    "a clip cut without encoding": (
        "", lambda s: clip(cut_without_encoding(encode_clip(walk(41, seed=s)), 20))),
    "no caption": ("missing-caption", lambda s: {"x.png": png(512, 480, seed=s)}),
    "a blank caption": ("empty-caption", lambda s: caption(s, " \n")),
    "an invisible caption": ("empty-caption", lambda s: caption(s, "\u200b \u00a0\u00ad\ufeff")),
    "an RTF caption": ("caption-markup", lambda s: caption(s, r"{\rtf1\ansi ann1ka sits}")),
    "a refusal as caption": (
        "caption-failed", lambda s: caption(s, "I'm sorry, but I can't assist with that.")),
    "an introduced caption": (
        "caption-chat", lambda s: caption(s, "Sure! Here is a caption for the image: ann1ka sits")),
    "a caption of question marks": ("caption-garbled", lambda s: caption(s, "ann1ka?????????")),
    "bytes as caption": ("unreadable-caption", lambda s: caption(s, bytes(range(32)) * 20)),
    "a huge caption": ("unreadable-caption", lambda s: caption(s, "long " * 20_000)),
    "a long caption": ("caption-too-long", lambda s: caption(s, "ann1ka, many words " * 120)),
    "a Windows caption": ("caption-encoding", lambda s: caption(s, "im Café".encode("cp1252"))),
    "a UTF-16 caption": ("caption-encoding", lambda s: caption(s, "ann1ka x".encode("utf-16"))),
    "a caption in capitals": ("caption-name", lambda s: captioned_by(s, "X.TXT")),
    "a .caption file": ("caption-name", lambda s: captioned_by(s, "x.caption")),
    "a caption with two endings": ("caption-name", lambda s: captioned_by(s, "x.png.txt")),
    "two captions": (
        "second-caption", lambda s: {**plain(s, "two.png"), "two.caption": "ann1ka"}),
    "a caption alone": ("orphan-caption", lambda _: {"y.txt": "ann1ka, lost"}),
    "a HEIC file": ("unsupported-type", lambda _: {"x.heic": b"ftypheic", "x.txt": "x"}),
    "a zip in the zip": ("nested-archive", lambda s: {"x.zip": zip_bytes(plain(s))}),
    "a part of a zip in the zip": (
        "nested-archive", lambda _: {"x.zip.001": b"x", "x.z01": b"x", "x.part2.rar": b"x"}),
    "a HEIC named jpg": ("unsupported-type", lambda _: image(b"\0\0\0\x18ftypheic", "x.jpg")),
    "a clip of a camcorder": (
        "converted-type", lambda s: clip(encode_clip(walk(seed=s), stored=MPEG_TS), "x.MTS")),
    "a TIFF image": ("converted-type", lambda s: saved(s, "TIFF", "x.tiff")),
    "a still GIF": ("converted-type", lambda s: saved(s, "GIF", "x.gif")),
    "a PNG named jpg": ("wrong-extension", lambda s: plain(s, "x.jpg")),
    "a WebM named mp4": ("wrong-extension", lambda s: vp9(s, "x.mp4")),
    "an ending in mixed case": ("extension-case", lambda s: plain(s, "x.Png")),
    "x.png beside x.jpg": ("same-stem", twins),
    "a name with spaces": ("renamed", lambda s: plain(s, "Anníka at home.png")),
    "what macOS leaves": ("junk-ignored", lambda _: {"__MACOSX/._0.png": b"x", ".DS_Store": b"x"}),
    "an old cache": ("leftover-cache", lambda _: {"000_0512x0480_wan.safetensors": b"x"}),
    "a settings file": ("toml-unused", lambda _: {"dataset.toml": "[general]"}),
    "a dataset TOML": ("toml-found", lambda _: {"my.toml": "[[datasets]]"}),
    "a Parquet table": ("unread-table", lambda _: {"metadata.parquet": b"PAR1"}),
    "an Excel table": ("unread-table", lambda _: {"captions.xlsx": b"PK"}),
    "some other file": ("other-file", lambda _: {"notes.md": "# hello", "readme.txt": "hello"}),
    "the same file twice": ("exact-duplicate", copies),
    "nearly the same twice": ("near-duplicate", lookalikes),
    "half a PNG": ("corrupt-image", lambda s: image(png(512, 480, seed=s)[:-60_000])),
    "a PNG with a damaged header": ("corrupt-image", lambda _: image(b"\x89PNG\r\n\x1a\n")),
    "a JPEG with a damaged header": ("corrupt-image", lambda _: image(b"\xff\xd8\xff", "x.jpg")),
    "a GIF with a damaged header": ("corrupt-image", lambda _: image(b"GIF89a", "x.gif")),
    "a WebP with a damaged header": (
        "corrupt-image", lambda _: image(b"RIFF\x24\0\0\0WEBP", "x.webp")),
    "an AVIF with a damaged header": (
        "corrupt-image", lambda _: image(b"\0\0\0\x1cftypavif", "x.avif")),
    "an SVG named PNG": ("unsupported-type", lambda _: image(b"<svg xmlns='x'>")),
    "a text named PNG": ("corrupt-image", lambda _: image(b"hello")),
    "an empty image": ("corrupt-image", lambda _: image(b"")),
    "a web page named jpg": ("unsupported-type", lambda _: image(b"<!DOCTYPE html>", "x.jpg")),
    "a tiny image": ("image-too-small", lambda s: image(png(40, 40, seed=s))),
    "a huge image": ("image-too-large", lambda _: image(image_bytes(Image.new("1", (9000, 6000))))),
    "an animated image": ("animated-image", animated),
    "two pages": ("animated-image", paged),
    "a see-through image": ("alpha-channel", see_through),
    "a needless alpha channel": ("opaque-alpha", opaque),
    "a 16-bit image": ("sixteen-bit", sixteen_bit),
    "an HDR AVIF": ("hdr", hdr_avif),
    "an HDR PNG": ("hdr", hdr_png),
    "a wide colour profile": ("colour-profile", wide_profile),
    "a photo on its side": ("rotated", on_its_side),
    "a black image": ("black-image", lambda _: image(image_bytes(Image.new("RGB", (512, 480))))),
    "half an MP4": ("corrupt-clip", cut_off),
    "an empty clip": ("corrupt-clip", lambda _: clip(b"")),
    "an MP4 with a hole": ("corrupt-clip", with_hole),
    "a play list named MP4": ("corrupt-clip", lambda _: clip(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hosts\n")),
    "a tiny clip": ("clip-too-small", lambda s: stored(walk(seed=s, width=32, height=48))),
    "a giant clip": ("clip-too-large", lambda _: stored([np.zeros((7000, 7200, 3), np.uint8)])),
    "a clip of an hour": ("clip-too-long", hour),
    "an HDR clip": ("hdr", lambda s: stored(walk(5, seed=s), color_trc=16)),
    "HDR that only its pictures tell": ("hdr", hdr_inside),
    "a short clip": ("clip-too-short", lambda s: stored(walk(17, seed=s))),
    "a 30 fps clip": ("fps-not-16", lambda s: clip(encode_clip(walk(42, seed=s), fps=30))),
    "a 12 fps clip": ("low-fps", lambda s: clip(encode_clip(walk(18, seed=s), fps=12))),
    "a clip with uneven times": ("variable-fps", uneven),
    "23 frames": ("frames-not-4n1", lambda s: stored(walk(23, seed=s))),
    "a clip on its side": ("rotated", lying),
    "a mirrored clip": (
        "rotated", lambda s: clip(turned(encode_clip(walk(seed=s)), (-1, 0, 0, 1)))),
    "a see-through clip": ("alpha-channel", lambda s: clip(layered(walk(seed=s), 200), "x.mov")),
    "a clip with needless alpha": (
        "opaque-alpha", lambda s: clip(layered(walk(seed=s), 255), "x.mov")),
    "a see-through WebM": (
        "dropped-alpha", lambda s: clip(encode_clip(walk(seed=s), stored=SEE_THROUGH), "x.webm")),
    "an odd width": ("odd-size", lambda s: stored(walk(seed=s, width=833), pix_fmt="yuv444p")),
    "ten bits": ("deep-colour", lambda s: stored(walk(seed=s), **TEN_BIT)),
    "sound": ("audio-dropped", lambda s: stored(walk(seed=s), has_audio=True)),
    "a clip of sound alone": ("no-picture", lambda _: clip(sound_alone())),
    "pixels of television": ("non-square-pixels", lambda s: coded(s, "sar=4/3")),
    "fields of television": ("interlaced", lambda s: clip(fields(s))),
    "a clip marked as interlaced": ("", lambda s: coded(s, "fake-interlaced=1")),
    "a preview beside the video": (
        "several-streams",
        lambda s: clip(tracks(walk(seed=s), walk(seed=s, width=160, height=96)))),
    "two recordings joined": (
        "joined", lambda s: clip(joined(walk(21, seed=s), walk(20, seed=s)), "x.mpg")),
    "a recorder that paused for a minute": ("time-gap", paused),
    "a change of size": (
        "changes-size",
        lambda s: clip(joined(walk(21, seed=s), walk(21, seed=s, width=640)), "x.mpg")),
    "Display P3": ("wide-colours", lambda s: stored(walk(seed=s), color_primaries=12)),
    "YCgCo": ("strange-colours", lambda s: stored(walk(seed=s), colorspace=8)),
    "an untagged clip": ("untagged-colours", lambda s: stored(walk(seed=s), colorspace=None)),
    "a TIFF of floating-point numbers": (
        "deep-image", lambda _: image(image_bytes(Image.new("F", (512, 480)), "TIFF"), "x.tif")),
    "an image of log light": (
        "strange-image-colours",
        lambda s: image(with_chunk(png(512, 480, seed=s), b"cICP", bytes([9, 9, 0, 1])))),
    "a white image": ("blank-image", lambda _: image(image_bytes(Image.new("L", (512, 480), 254)))),
    "a flash": ("blank-frames", lambda s: stored(flash(s))),
    "a small clip": ("low-resolution", lambda s: stored(walk(seed=s, width=320, height=192))),
    "a small image": ("small-image", lambda s: image(png(256, 256, seed=s))),
    "a very wide image": ("extreme-aspect", lambda s: image(png(1440, 400, seed=s))),
    "a blurred clip": ("blurry", lambda s: stored(blurred(s))),
    "a blurred image": ("blurry", lambda s: image(image_bytes(soft(photo(s))))),
    "a clip that freezes": ("long-pause", lambda s: stored(frozen(s))),
    "a standing clip": ("static-clip", lambda s: stored(walk(1, seed=s) * 21)),
    "a fade from black": ("black-frames", lambda s: stored(faded(s))),
    "a clip with bars": ("letterboxed", lambda s: stored(barred(s))),
    "a cut": ("scene-cut", lambda s: stored(cut(s))),
}  # fmt: skip


def stills(count: int, text: str = "ann1ka, take {}") -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    for index in range(count):
        files |= {f"{index}.png": png(512, 480, seed=index), f"{index}.txt": text.format(index)}
    return files


def described(captions: Sequence[str]) -> bytes:
    files: dict[str, bytes | str] = {}
    for index, text in enumerate(captions):
        files |= {f"{index:02}.png": png(512, 480, seed=index), f"{index:02}.txt": text}
    return zip_bytes(files)


def damaged(content: bytes) -> bytes:
    at = content.index(b"2.png") + 5_000
    return content[:at] + bytes(100) + content[at + 100 :]


def with_backslashes(content: bytes) -> bytes:
    return content.replace(b"images@", b"images\\")


SETS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "five images": ("", lambda: zip_bytes(stills(5))),
    "a folder in Shift-JIS": (
        "name-encoding",
        lambda: zip_of(
            *(
                Stored(f"{'写真' if name < '003' else 'b'}/{name}".encode("cp932"), content)
                for name, content in stills(5).items()
            )
        ),
    ),
    "no image": ("no-samples", lambda: zip_bytes({"manifest.json": "{}"})),
    "four images": ("too-few-samples", lambda: zip_bytes(stills(4))),
    "one caption for all": ("captions-all-equal", lambda: zip_bytes(stills(5, "ann1ka"))),
    "the look in each caption": (
        "captions-share-phrase", lambda: described(SETS_OF_CAPTIONS["described character"])),
    "a word in each caption": (
        "captions-share-words",
        lambda: described([f"{text}, smiling" for text in SETS_OF_CAPTIONS["good character"]])),
    "captions alike": (
        "caption-alike",
        lambda: described([*SETS_OF_CAPTIONS["good character"], *["ann1ka smiles"] * 4])),
    "captions that say little": (
        "captions-leave-out", lambda: described(SETS_OF_CAPTIONS["bare"])),
    "a caption without the trigger": (
        "trigger-missing", lambda: zip_bytes({**stills(5), "1.txt": "somebody"})),
    "a file damaged inside the zip": ("damaged-in-zip", lambda: damaged(zip_bytes(stills(6)))),
    "one folder around all": (
        "nested-folder", lambda: zip_bytes({f"a/b/{n}": c for n, c in stills(5).items()})),
    "a zip made on Windows": (
        "windows-separators",
        lambda: with_backslashes(zip_bytes({f"images@{n}": c for n, c in stills(5).items()}))),
}  # fmt: skip
