"""Makers of datasets with exactly one flaw each; `seed` gives each its own picture."""

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image, ImageFilter, ImageOps

from tests import media
from tests.icc import P3_XYZ, rgb_profile, srgb_curve
from tests.media import ClipFormat, Pixels, encode_clip, image_bytes, pan, picture, png

Files = Mapping[str, bytes | str]
Make = Callable[[int], Files]
WIDTH, HEIGHT = 832, 480


def walk(frames: int = 21, *, seed: int, width: int = WIDTH, height: int = HEIGHT) -> list[Pixels]:
    return list(pan(frames, width, height, seed=seed))


def image(content: bytes, name: str = "x.png") -> Files:
    return {name: content, str(Path(name).with_suffix(".txt")): f"ann1ka, {len(content)} bytes"}


def clip(content: bytes, name: str = "x.mp4") -> Files:
    return image(content, name)


def stored(frames: list[Pixels], **changes: object) -> Files:
    return clip(encode_clip(frames, stored=replace(ClipFormat(), **changes)))


def photo(seed: int, width: int = 512, height: int = 480) -> Image.Image:
    return picture(width, height, seed=seed)


def saved(seed: int, form: str, name: str, **options: object) -> Files:
    return image(image_bytes(photo(seed), form, **options), name)


def caption(seed: int, content: str | bytes) -> Files:
    return {"x.png": png(512, 480, seed=seed), "x.txt": content}


def captioned_by(seed: int, name: str) -> Files:
    return {"x.png": png(512, 480, seed=seed), name: f"ann1ka {seed}"}


def cut_off(seed: int) -> Files:
    content = encode_clip(walk(seed=seed))
    return clip(content[: len(content) // 2])


def with_hole(seed: int) -> Files:
    """A clip with an intact frame list but damaged pictures, as after a bad disk."""
    options = (("crf", "20"), ("preset", "ultrafast"), ("g", "8"))
    content = encode_clip(walk(seed=seed), stored=ClipFormat(options=options))
    third = len(content) // 3
    return clip(content[:third] + bytes(third) + content[2 * third :])


def on_its_side(seed: int) -> Files:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(seed, "JPEG", "x.jpg", quality=95, exif=exif)


def wide_profile(seed: int) -> Files:
    return saved(seed, "PNG", "x.png", icc_profile=rgb_profile("P3", P3_XYZ, srgb_curve()))


def see_through(seed: int) -> Files:
    layered = photo(seed).convert("RGBA")
    layered.putalpha(Image.linear_gradient("L").resize(layered.size))
    return image(image_bytes(layered))


def sixteen_bit(seed: int) -> Files:
    return image(
        image_bytes(Image.fromarray(np.asarray(photo(seed).convert("L")).astype(np.uint16) * 257))
    )


def hdr_avif(seed: int) -> Files:
    content = image_bytes(photo(seed), "AVIF", quality=90)
    at = content.index(b"colrnclx") + 10
    return image(content[:at] + (16).to_bytes(2, "big") + content[at + 2 :], "x.avif")


def hdr_png(seed: int) -> Files:
    content, chunk = png(512, 480, seed=seed), b"cICP" + bytes((9, 18, 0, 1))
    whole = (4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return image(content[:33] + whole + content[33:])  # behind the header


def hdr_inside(seed: int) -> Files:
    """A Matroska file whose own tags say BT.709."""
    hlg = "log-level=none:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    options = (("preset", "ultrafast"), ("x265-params", hlg))
    hidden = ClipFormat(container="matroska", codec="libx265", options=options)
    return clip(encode_clip(walk(5, seed=seed), stored=hidden), "x.mkv")


def paged(seed: int) -> Files:
    return saved(seed, "TIFF", "x.tif", save_all=True, append_images=[photo(seed + 1)])


def animated(seed: int) -> Files:
    buffer = io.BytesIO()
    photo(seed).save(buffer, "WEBP", save_all=True, append_images=[photo(seed + 1)], duration=100)
    return image(buffer.getvalue(), "x.webp")


def lying(seed: int) -> Files:
    return clip(turned(encode_clip(walk(seed=seed))))


def turned(content: bytes, matrix: tuple[int, int, int, int] = (0, 1, -1, 0)) -> bytes:
    """Set the MP4's display matrix, by default to a quarter turn clockwise."""
    track = content.index(b"tkhd") + 4 + 40
    a, b, c, d = ((0x10000 * part).to_bytes(4, "big", signed=True) for part in matrix)
    zero, one = bytes(4), (0x40000000).to_bytes(4, "big")
    return content[:track] + a + b + zero + c + d + zero * 3 + one + content[track + 36 :]


def cut_without_encoding(content: bytes, frames: int) -> bytes:
    """Let players skip the first frames, as editors do that cut without encoding."""
    source, buffer = av.open(io.BytesIO(content), "r"), io.BytesIO()
    with source, av.open(buffer, "w", format="mp4") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            before = int(Fraction(frames, 16) / packet.time_base)
            packet.pts, packet.dts = packet.pts - before, packet.dts - before
            packet.stream = copied
            target.mux(packet)
    return buffer.getvalue()


def layered(frames: list[Pixels], opacity: int) -> bytes:
    """A MOV with an alpha channel; all but the left half has the given opacity."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as container:
        stream = container.add_stream("png", rate=16, options={"compression_level": "1"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgba"
        for pixels in frames:
            alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
            alpha[:, pixels.shape[1] // 2 :] = opacity
            frame = av.VideoFrame.from_ndarray(np.dstack((pixels, alpha)), format="rgba")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def uneven(seed: int) -> Files:
    times = [Fraction(index, 30) + Fraction(index % 3, 90) for index in range(42)]
    return clip(encode_clip(walk(42, seed=seed), times=times))


def paused(seed: int) -> Files:
    times = [Fraction(index, 16) + 60 * (index > 9) for index in range(21)]
    return clip(encode_clip(walk(seed=seed), times=times))


def frozen(seed: int) -> list[Pixels]:
    """Return frames that stand still for 2.5 s in the middle."""
    frames = walk(24, seed=seed)
    return [*frames[:12], *frames[11:12] * 41, *frames[12:]]


def barred(seed: int) -> list[Pixels]:
    frames = walk(seed=seed)
    for frame in frames:
        frame[:40] = 0
        frame[-40:] = 0
    return frames


def faded(seed: int) -> list[Pixels]:
    return [(f * min(1.0, i / 6)).astype(np.uint8) for i, f in enumerate(walk(seed=seed))]


def blurred(seed: int) -> list[Pixels]:
    return [np.asarray(soft(Image.fromarray(frame))) for frame in walk(seed=seed)]


def soft(sharp: Image.Image) -> Image.Image:
    return ImageOps.autocontrast(sharp, cutoff=10).filter(ImageFilter.GaussianBlur(7))


def copies(seed: int) -> Files:
    return {**caption(seed, f"ann1ka {seed}"), "y.png": png(512, 480, seed=seed), "y.txt": "ann1ka"}


def lookalikes(seed: int) -> Files:
    return {**caption(seed, f"ann1ka {seed}"),
            "y.jpg": media.jpeg(512, 480, seed=seed, quality=70), "y.txt": "ann1ka"}  # fmt: skip


def twins(seed: int) -> Files:
    return {**caption(seed, f"ann1ka {seed}"), "x.jpg": media.jpeg(512, 480, seed=seed + 500)}


VP9 = ClipFormat(container="webm", codec="libvpx-vp9",
                 options=(("deadline", "realtime"), ("cpu-used", "8")))  # fmt: skip
MPEG_TS = ClipFormat(container="mpegts")
SEE_THROUGH = replace(VP9, pix_fmt="yuva420p")
TEN_BIT: Mapping[str, object] = {
    "codec": "libx265", "pix_fmt": "yuv420p10le",
    "options": (("preset", "ultrafast"), ("x265-params", "log-level=none")),
}  # fmt: skip


def hour(seed: int) -> Files:
    frames = walk(4, seed=seed, width=64, height=64)
    return clip(encode_clip(frames, times=[Fraction(1200 * index) for index in range(4)]))


def flash(seed: int) -> list[Pixels]:
    frames = walk(seed=seed)
    for index in (9, 10):
        frames[index] = np.full_like(frames[index], 255)
    return frames


def sound_alone() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000)
        assert isinstance(stream, AudioStream)
        silence = np.zeros((1, 2 * 48_000), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def cut(seed: int) -> list[Pixels]:
    return [*walk(10, seed=seed), *(255 - frame for frame in walk(11, seed=seed + 500))]


def plain(seed: int, name: str = "x.png") -> Files:
    return image(png(512, 480, seed=seed), name)


def vp9(seed: int, name: str) -> Files:
    return clip(encode_clip(walk(seed=seed), stored=VP9), name)


def opaque(seed: int) -> Files:
    return image(image_bytes(photo(seed).convert("RGBA")))


def coded(seed: int, parameters: str) -> Files:
    options = (("x264-params", parameters), ("preset", "ultrafast"))
    return stored(walk(seed=seed), options=options)


def woven(seed: int, frames: int = 21) -> list[Pixels]:
    """Return pictures whose odd lines were taken half a frame later."""
    moments = walk(2 * frames, seed=seed)
    pictures: list[Pixels] = []
    for first, second in zip(moments[::2], moments[1::2], strict=True):
        picture = first.copy()
        picture[1::2] = second[1::2]
        pictures.append(picture)
    return pictures


def fields(seed: int, order: str = "tff", frames: int = 21) -> bytes:
    """Return an interlaced clip."""
    options = (("crf", "16"), ("preset", "ultrafast"), ("x264-params", f"{order}=1"))
    return encode_clip(woven(seed, frames), stored=ClipFormat(options=options))


def tracks(*pictures: list[Pixels], default: int | None = None) -> bytes:
    """Return an MP4 with a video track for each list; `default` numbers the one marked so."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        streams: list[VideoStream] = []
        for number, (picture, *_) in enumerate(pictures):
            stream = container.add_stream("libx264", rate=16, options={"preset": "ultrafast"})
            assert isinstance(stream, VideoStream)
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
            context = stream.codec_context
            context.colorspace, context.color_range = 6, 1
            context.color_primaries = context.color_trc = 1
            streams.append(stream)
        for index, moment in enumerate(zip(*pictures, strict=True)):
            for stream, picture in zip(streams, moment, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 16)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return buffer.getvalue()


def joined(*parts: list[Pixels]) -> bytes:
    """Return recordings that are joined without encoding: the clock restarts in each."""
    return b"".join(encode_clip(part, stored=MPEG_TS) for part in parts)
