"""Makes musubi-tuner convert each clip to RGB according to the clip's own colour tags.

musubi-tuner's `load_video` calls `av.open`, `decode` and `to_image`. In PyAV 14, `to_image` treats
every clip as BT.601. So the launcher replaces `av` with `TaggedAv` in musubi-tuner's `media_utils`.
"""

from collections.abc import Iterator
from typing import Any

from training.dataset.decoding.colours import Converter, colours_of, tags_of


class TaggedAv:
    """A stand-in for the module `av`; each clip converts its frames by its own colour tags."""

    def __init__(self, av: Any) -> None:
        self._av = av

    def __getattr__(self, name: str) -> Any:
        return getattr(self._av, name)

    def open(self, *positional: Any, **named: Any) -> "_Container":
        """Open a clip as `av.open` does."""
        return _Container(self._av.open(*positional, **named))


class _Container:
    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def decode(self, *, video: int) -> Iterator["_Frame"]:
        tags = tags_of(self._container.streams.video[video].codec_context)
        converter: Converter | None = None
        for frame in self._container.decode(video=video):
            if converter is None:
                converter = Converter(colours_of(frame, tags).rgb_filters())
            yield _Frame(frame, converter)


class _Frame:
    def __init__(self, frame: Any, converter: Converter) -> None:
        self._frame, self._converter = frame, converter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frame, name)

    def to_image(self) -> Any:
        converted: Any = self._converter.convert(self._frame)
        return converted.to_image()
