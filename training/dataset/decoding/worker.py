"""The decoding process: the only place that opens untrusted media.

It has limited memory and no secrets in its environment, and does no harm if it crashes. The pool in
`training.dataset.decoding.pool` starts it. Requests come on stdin; replies are written to stdout.
"""

import gc
import os
import sys
from pathlib import Path

from training.dataset.decoding.clip_convert import convert_clip
from training.dataset.decoding.clip_probe import probe_clip
from training.dataset.decoding.guard import limit_this_process
from training.dataset.decoding.image import convert_image, probe_image
from training.dataset.decoding.messages import (
    REQUEST,
    Convert,
    DecoderReply,
    DecoderRequest,
    PickFrames,
    Probe,
    Shrink,
)
from training.dataset.decoding.shrink import pick_frames, shrink
from training.dataset.limits import Limits
from training.dataset.report import MediaFacts, UnreadableError


def answer(request: DecoderRequest, limits: Limits) -> DecoderReply:
    """Carry out a request; failures that a file can cause are returned in the reply, not raised."""
    if isinstance(request, Probe):
        return DecoderReply(facts=_probe(request, limits))
    try:
        if isinstance(request, Shrink):
            return DecoderReply(thumbnail=shrink(Path(request.path), request.kind, limits))
        if isinstance(request, PickFrames):
            return DecoderReply(frames=pick_frames(request, limits))
        _convert(request, limits)
    except (UnreadableError, OSError, MemoryError, ValueError) as error:
        return DecoderReply(failure=f"{type(error).__name__}: {error}")
    return DecoderReply()


def _convert(request: Convert, limits: Limits) -> None:
    source, target = Path(request.path), Path(request.target)
    if request.kind == "image":
        convert_image(source, target, is_copied=request.is_copied, limits=limits)
    else:
        convert_clip(
            source,
            target,
            frames=request.frames or 1,
            is_copied=request.is_copied,
            is_interlaced=request.is_interlaced,
        )


def _probe(request: Probe, limits: Limits) -> MediaFacts:
    path = Path(request.path)
    try:
        if request.kind == "image":
            return probe_image(path, request.extension, limits)
        return probe_clip(path, request.extension, limits, request.threads)
    except UnreadableError as error:
        note = error.note
    except (OSError, MemoryError, ValueError) as error:
        code = "corrupt-image" if request.kind == "image" else "corrupt-clip"
        note = UnreadableError(code, type(error).__name__).note
    return MediaFacts(kind=request.kind, extension=request.extension, notes=(note,))


def main() -> None:
    """Answer requests, one per line, until stdin ends."""
    limits = Limits(**{name: int(value) for name, value in map(_pair, sys.argv[1:])})
    limit_this_process(limits)
    # Replies go to a copy of stdout. Stdout itself becomes stderr, so that text that libraries
    # print does not mix with the replies.
    with os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n") as replies:
        os.dup2(2, 1)
        gc.freeze()
        for line in sys.stdin:
            reply = answer(REQUEST.validate_json(line), limits)
            # PyAV's frames can form reference cycles of several MiB, so collect them immediately.
            # After `gc.freeze` this takes only 1 ms. Collecting also closes the file, so that the
            # parent process can remove it.
            gc.collect()
            replies.write(reply.model_dump_json() + "\n")
            replies.flush()


def _pair(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    return name, value


if __name__ == "__main__":
    main()
