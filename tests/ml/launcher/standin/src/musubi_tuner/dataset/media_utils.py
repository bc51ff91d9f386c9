"""Where musubi-tuner reads clips."""

from typing import Any

import av
import numpy as np


def load_video(video_path: str) -> list[Any]:
    frames: list[Any] = []
    container: Any = av.open(video_path)  # PyAV leaves to_image untyped
    for frame in container.decode(video=0):
        frames.append(np.array(frame.to_image()))
    container.close()
    return frames
