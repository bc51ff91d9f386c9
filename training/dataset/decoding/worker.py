"""The decoding process: the only place that opens untrusted media.

It runs with bounded memory and without the environment's secrets, and may die harmlessly.
Started by `training.dataset.decoding.pool`; reads requests on stdin and answers on stdout.
"""

import gc
import os
import resource
import sys
from pathlib import Path

from training.dataset.decoding.clip_convert import convert_clip
from training.dataset.decoding.clip_probe import probe_clip
from training.dataset.decoding.image import convert_image, probe_image
from training.dataset.decoding.messages import (
    REQUEST,
    Convert,
    DecoderReply,
    DecoderRequest,
    Probe,
    Shrink,
)
from training.dataset.decoding.shrink import shrink
from training.dataset.limits import Limits
from training.dataset.report import MediaFacts, UnreadableError


def answer(request: DecoderRequest, limits: Limits) -> DecoderReply:
    """Carry out one request."""
    if isinstance(request, Probe):
        return DecoderReply(facts=_probe(request, limits))
    try:
        if isinstance(request, Shrink):
            return DecoderReply(thumbnail=shrink(Path(request.path), request.kind, limits))
        _convert(request, limits)
    except (UnreadableError, OSError, MemoryError, ValueError) as error:
        return DecoderReply(failure=f"{type(error).__name__}: {error}")
    return DecoderReply()


def _convert(request: Convert, limits: Limits) -> None:
    source, target = Path(request.path), Path(request.target)
    if request.kind == "image":
        convert_image(source, target, is_copied=request.is_copied, limits=limits)
    else:
        convert_clip(source, target, frames=request.frames or 1, is_copied=request.is_copied)


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
    """Answer requests until stdin ends."""
    limits = Limits(**{name: int(value) for name, value in map(_pair, sys.argv[1:])})
    memory = limits.worker_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Keep what libraries print out of the replies.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)
        gc.freeze()
        for line in sys.stdin:
            reply = answer(REQUEST.validate_json(line), limits)
            replies.write(reply.model_dump_json() + "\n")
            replies.flush()
            # PyAV's frames can form cycles of several MiB; after the freeze this takes 1 ms.
            gc.collect()


def _pair(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    return name, value


if __name__ == "__main__":
    main()
