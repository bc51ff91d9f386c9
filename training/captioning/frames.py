"""Takes frames from the samples of a dataset's zip; the decoding processes open the files."""

import math
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from pathlib import Path

from PIL import Image

from training.captioning.captioner import NoCaptionError
from training.dataset.decoding.messages import DecoderReply, PickFrames
from training.dataset.decoding.pool import MOST_LOOKING, Pool
from training.dataset.limits import Limits
from training.dataset.report import Sample
from training.dataset.zip.archive import MemberDamagedError, open_archive
from training.files.temporary import scratch_folder

FRAMES_PER_SECOND = 2.0
MOST_FRAMES = 16
LONGEST_SIDE = 768  # pixels
_CHANNELS = 3
Frames = Sequence[Image.Image] | NoCaptionError


def frame_count(sample: Sample) -> int:
    """Return how many frames of a sample a captioner sees."""
    return min(MOST_FRAMES, max(1, math.ceil((sample.seconds or 0.0) * FRAMES_PER_SECOND)))


def frames_of(
    archive: Path, samples: Sequence[Sample], limits: Limits
) -> Generator[tuple[Sample, Frames]]:
    """Yield each sample with its frames, or with the reason why it has none.

    Raises:
        ArchiveRefusedError: The zip cannot be opened.
    """
    with (
        scratch_folder("captioning") as folder,
        open_archive(archive, limits) as opened,
        Pool(limits, len(samples), archive.stat().st_size, most=MOST_LOOKING) as pool,
    ):
        members = {member.path: member for member in opened.members}
        waiting: deque[tuple[Sample, Path, Future[DecoderReply] | None]] = deque()
        for index, sample in enumerate(samples):
            path = folder / f"{index}{Path(sample.source).suffix.lower()}"
            member = members.get(sample.source)
            try:
                is_same = member is not None and opened.copy(member, path) == sample.sha256
            except MemberDamagedError:
                is_same = False
            reply = pool.submit(_request(sample, path)) if is_same else None
            waiting.append((sample, path, reply))
            if len(waiting) > pool.size:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _request(sample: Sample, path: Path) -> PickFrames:
    return PickFrames(
        kind=sample.kind,
        path=str(path),
        target=str(_target(path)),
        seconds=sample.seconds or 0.0,
        count=frame_count(sample),
        longest_side=LONGEST_SIDE,
    )


def _target(path: Path) -> Path:
    return path.with_suffix(".rgb")


def _finished(
    sample: Sample, path: Path, reply: Future[DecoderReply] | None
) -> tuple[Sample, Frames]:
    if reply is None:
        return sample, NoCaptionError("the file in the zip is damaged")
    try:
        return sample, _read(sample, _target(path), reply.result())
    except NoCaptionError as error:
        return sample, error
    finally:
        path.unlink(missing_ok=True)
        _target(path).unlink(missing_ok=True)


def _read(sample: Sample, target: Path, reply: DecoderReply) -> list[Image.Image]:
    found = reply.frames
    if found is None:
        raise NoCaptionError("the file cannot be decoded")
    size = (found.width, found.height)
    each_bytes = found.width * found.height * _CHANNELS
    # The decoder handles untrusted files, so its answer is checked before it is used.
    if max(size) > LONGEST_SIDE or found.count > frame_count(sample):
        raise NoCaptionError("the file cannot be decoded")
    data = target.read_bytes()
    if len(data) != found.count * each_bytes:
        raise NoCaptionError("the file cannot be decoded")
    starts = range(0, len(data), each_bytes)
    return [Image.frombytes("RGB", size, data[at : at + each_bytes]) for at in starts]
