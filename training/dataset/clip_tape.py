"""What is kept of a clip while its frames go by."""

from dataclasses import dataclass, field

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from training.dataset.decoding.clip_alpha import OPAQUE, flattened, has_alpha
from training.dataset.decoding.clip_looks import ClipWatch
from training.dataset.decoding.clip_reader import Shape, shape_of
from training.dataset.decoding.image_looks import Look


@dataclass(slots=True)
class Tape:
    """What is kept of a clip while its frames go by."""

    watch: ClipWatch = field(default_factory=ClipWatch)
    times_us: list[int] = field(default_factory=list[int])
    shape: Shape | None = None
    bits: int = 8
    is_interlaced: bool = False
    opacity: int | None = None  # the lowest, of 255; None without an alpha channel
    last: VideoFrame | None = None
    flat: tuple[VideoFrame, VideoFrame] | None = None  # a frame, and the same on white

    def add(self, time_us: int, frame: VideoFrame, stream: VideoStream) -> None:
        """Take note of one frame."""
        if self.shape is None:
            self.shape = shape_of(frame, stream)
            self.bits = max(part.bits for part in frame.format.components)
        self.times_us.append(time_us)
        self.is_interlaced = self.is_interlaced or frame.interlaced_frame
        self.last = frame

    def see(self, frame: VideoFrame) -> None:
        """Look at a frame that training will see."""
        self.watch.see(self._plain(frame))

    def look(self, count: int) -> Look:
        """Return how the first `count` of these frames look."""
        assert self.last is not None
        return self.watch.look(count, self._plain(self.last))

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """Return a frame as repair writes it: one with alpha on white."""
        if not has_alpha(frame):
            return frame
        if self.flat is None or self.flat[0] is not frame:
            plain, opacity = flattened(frame)
            self.flat = frame, plain
            self.opacity = min(opacity, OPAQUE if self.opacity is None else self.opacity)
        return self.flat[1]
