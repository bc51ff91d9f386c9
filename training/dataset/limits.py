"""Limits on the resources that the inspection of an upload may use."""

from dataclasses import dataclass

from training.files.sizes import GIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that an untrusted dataset may have or use; a refusal names the limit.

    Attributes:
        files: Number of entries in the zip, folders included.
        archive_bytes: Size of the zip itself.
        unpacked_bytes: Total size of all files when unpacked.
        ratio: Unpacked size divided by packed size; checked only above `ratio_floor_bytes`.
        ratio_floor_bytes: Unpacked size up to which any ratio is accepted.
        caption_bytes: Size of one caption file.
        captions_bytes: Total size of all captions, which are kept in memory.
        pixels: Width times height of an image.
        clip_pixels: Width times height of a clip; a decoder keeps several frames in memory.
        clip_seconds: Length of a clip.
        clip_frames: Number of frames of a clip.
        inspection_seconds: Wall-clock time for the whole inspection.
        worker_seconds: Wall-clock time for one image or clip.
        worker_bytes: Memory (address space) of a decoding process.
        workers: Number of parallel decoding processes; 0 means as many as cores and memory allow.
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
