"""A dataset without flaws: camera moves over photographs, also dark, slow and text-heavy ones."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.media import Pixels, encode_clip, image_bytes
from tests.photos import camera_move, framed, photograph, written_page

SIZE = (832, 480)
FRAMES = 21


@dataclass(frozen=True, slots=True)
class Shot:
    """A camera move over a photograph.

    Attributes:
        photo: Of those that scikit-image ships, or a page of text.
        start: Zoom, and where between the edges; as `framed` takes it.
        end: Likewise, for the last frame.
        light: What part of the photograph's light is left.
        grain: Noise of the camera, of 255.
    """

    photo: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    light: float = 1.0
    grain: float = 0.0


SHOTS: dict[str, Shot] = {
    "pan over a cat": Shot("chelsea.png", (1.2, 0.0, 0.3), (1.2, 1.0, 0.6)),
    "zoom to a face": Shot("astronaut.png", (1.0, 0.4, 0.1), (1.6, 0.4, 0.0)),
    "zoom out of coffee": Shot("coffee.png", (1.8, 0.5, 0.5), (1.0, 0.5, 0.5)),
    "diagonal over machinery": Shot("motorcycle_left.png", (1.3, 0.0, 0.0), (1.3, 1.0, 1.0)),
    "tilt up a rocket": Shot("rocket.jpg", (1.4, 0.4, 1.0), (1.4, 0.4, 0.0)),
    "fast pan over coins": Shot("coins.png", (1.5, 0.0, 0.2), (1.5, 1.0, 0.9)),
    "a camera man, grey": Shot("camera.png", (1.0, 0.0, 0.1), (1.2, 0.6, 0.3), grain=3.0),
    "gravel": Shot("gravel.png", (1.0, 0.0, 0.0), (1.0, 0.0, 0.7)),
    "stars on black": Shot("hubble_deep_field.jpg", (1.1, 0.1, 0.2), (1.2, 0.6, 0.5)),
    "the moon": Shot("moon.png", (1.0, 0.0, 0.0), (1.1, 0.5, 1.0)),
    "a dark cat": Shot("chelsea.png", (1.0, 0.0, 0.5), (1.1, 0.8, 0.5), light=0.15, grain=1.5),
    "a dark launch": Shot("rocket.jpg", (1.0, 0.2, 0.2), (1.2, 0.6, 0.6), light=0.12),
    "night at the garage": Shot("motorcycle_right.png", (1.1, 0.9, 0.1), (1.1, 0, 1), light=0.2),
    "a slow zoom": Shot("coffee.png", (1.5, 0.2, 0.3), (1.505, 0.2, 0.3)),
    "a slow pan": Shot("astronaut.png", (1.3, 0.30, 0.6), (1.3, 0.31, 0.6), grain=1.5),
    "a slow dark pan": Shot("hubble_deep_field.jpg", (1.6, 0.5, 0.50), (1.6, 0.5, 0.515)),
    "a cat that hardly moves": Shot("chelsea.png", (1.2, 0.5, 0.5), (1.2, 0.504, 0.5)),
    "a page of text": Shot("page", (1.0, 0.0, 0.0), (1.1, 0.5, 0.8)),
    "a dark page of text": Shot("dark page", (1.2, 0.0, 0.0), (1.2, 0.2, 1.0)),
    "a printed page": Shot("page.png", (1.0, 0.0, 0.0), (1.1, 0.4, 1.0)),
    "a handwritten page": Shot("text.png", (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}  # fmt: skip
STILLS: dict[str, tuple[str, float]] = {
    "a cat": ("chelsea.png", 1.0), "an astronaut": ("astronaut.png", 1.0),
    "a cup": ("coffee.png", 1.0), "an engine": ("motorcycle_left.png", 1.0),
    "galaxies": ("hubble_deep_field.jpg", 1.0), "a dark rocket": ("rocket.jpg", 0.15),
    "grass": ("grass.png", 1.0), "words": ("page", 1.0),
}  # fmt: skip


def frames_of(shot: Shot) -> list[Pixels]:
    """Return the RGB frames [h, w, 3] of a shot."""
    photo = _photo(shot.photo)
    start, end = framed(photo, SIZE, *shot.start), framed(photo, SIZE, *shot.end)
    frames = list(camera_move(photo, start, end, frames=FRAMES, size=SIZE))
    if shot.light != 1.0:
        levels = (np.arange(256) * shot.light).round().astype(np.uint8)
        frames = [levels[frame] for frame in frames]
    if not shot.grain:
        return frames
    field = np.random.default_rng(0).normal(0, shot.grain, (SIZE[1], SIZE[0], 1))
    noise = field.round().astype(np.int16)
    grainy = (frame + np.roll(noise, 37 * at, axis=(0, 1)) for at, frame in enumerate(frames))
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in grainy]


def clean_files() -> dict[str, bytes | str]:
    """Return the whole set in the guide's layout."""
    files: dict[str, bytes | str] = {}
    for title, shot in SHOTS.items():
        name = f"videos/{title.replace(',', '').replace(' ', '-')}"
        files |= {f"{name}.mp4": encode_clip(frames_of(shot)), f"{name}.txt": f"ann1ka, {title}"}
    for title, (photo, light) in STILLS.items():
        name = f"images/{title.replace(' ', '-')}"
        image = _photo(photo).point([round(level * light) for level in range(256)] * 3)
        still = image.resize(
            (round(640 * image.width / image.height), 640), Image.Resampling.LANCZOS
        )
        files |= {f"{name}.png": image_bytes(still), f"{name}.txt": f"ann1ka, {title}, still"}
    return files


def _photo(name: str) -> Image.Image:
    if name in ("page", "dark page"):
        return written_page((1280, 720), is_dark=name == "dark page")
    return photograph(name)
