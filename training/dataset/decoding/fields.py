"""Distinguishes interlaced clips from progressive clips that are only marked as interlaced."""

from dataclasses import dataclass, field

from av.filter import Graph
from av.video.frame import VideoFrame

from training.dataset.decoding.colours import linked

# The metadata key under which ffmpeg's filter idet stores its verdict, such as "tff" or
# "progressive". The filter compares neighbouring lines within a frame and with the previous frame.
_VERDICT = "lavfi.idet.multiple.current_frame"
_COMBED = ("tff", "bff")
# A clip is interlaced if more than this share of its frames mix fields. Frames without a verdict do
# not count. In telecined clips, two of five frames mix fields.
_SHARE = 0.1


@dataclass(slots=True)
class FieldWatch:
    """Judges a clip's frames, starting with the first one that is marked as interlaced."""

    graph: Graph | None = None
    verdicts: list[str] = field(default_factory=list[str])

    def see(self, frame: VideoFrame) -> None:
        """Judge the next frame."""
        if self.graph is None and not frame.interlaced_frame:
            return
        self.graph = self.graph or linked([("idet", None)], frame)
        self.graph.push(frame)
        self._pull()

    @property
    def are_mixed(self) -> bool:
        """Whether the clip is interlaced: more than a tenth of its frames mix two fields."""
        if self.graph is None:
            return False
        combed = sum(verdict in _COMBED for verdict in self.verdicts)
        decided = combed + self.verdicts.count("progressive")
        return combed > _SHARE * decided

    def _pull(self) -> None:
        assert self.graph is not None
        while True:
            try:
                frame = self.graph.pull()
            except (BlockingIOError, EOFError):
                return
            assert isinstance(frame, VideoFrame)
            self.verdicts.append(frame.metadata.get(_VERDICT, "undetermined"))
