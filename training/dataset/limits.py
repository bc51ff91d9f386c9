"""How much an upload may ask of the machine that looks at it."""

from dataclasses import dataclass

MIB = 1024 * 1024  # bytes
GIB = 1024 * MIB  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on an untrusted dataset; what lies over them is refused with its number named.

    Attributes:
        files: Entries of the zip, folders included.
        archive_bytes: Size of the zip itself.
        unpacked_bytes: Sum of all files once unpacked.
        ratio: Unpacked over packed size; only asked above `ratio_floor_bytes`.
        ratio_floor_bytes: Small archives may compress as well as they like.
        caption_bytes: Size of one caption file.
        captions_bytes: Of all of them together: they are held in memory.
        pixels: Width times height of one image.
        clip_pixels: Width times height of one frame; decoding and encoding hold several.
        clip_seconds: Length of one clip.
        clip_frames: Frames of one clip.
        inspection_seconds: Wall-clock time for looking at all of them.
        worker_seconds: Wall-clock time for one image or clip in the decoding process.
        worker_bytes: Address space of a decoding process.
        workers: Decoding processes side by side; 0 means as many as cores and memory allow.
    """

    files: int = 10_000
    archive_bytes: int = 6 * GIB
    unpacked_bytes: int = 8 * GIB
    ratio: int = 100
    ratio_floor_bytes: int = 64 * MIB
    caption_bytes: int = 64 * 1024
    captions_bytes: int = 32 * MIB
    pixels: int = 50_000_000
    clip_pixels: int = 9_500_000
    clip_seconds: int = 300
    clip_frames: int = 20_000
    inspection_seconds: int = 3600
    worker_seconds: int = 600
    worker_bytes: int = 4 * GIB
    workers: int = 0
