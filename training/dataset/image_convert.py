"""Writing one image as the trainer wants it: upright, 8-bit sRGB, PNG or the JPEG as it was."""

import shutil
from pathlib import Path

from training.dataset.decoding.image import open_image, upright_rgb
from training.dataset.limits import Limits

PNG_COMPRESSION = 6


def convert_image(source: Path, target: Path, *, is_copied: bool, limits: Limits) -> None:
    """Write `source` to `target`; the bytes are the same on every machine.

    Args:
        source: The unpacked file.
        target: Where the repaired image goes.
        is_copied: As the probe found: nothing needs to change.
        limits: Sets how many pixels are decoded.
    """
    if is_copied:
        shutil.copyfile(source, target)
        return
    image, _ = open_image(source, limits)
    rgb, _ = upright_rgb(image)
    rgb.info.clear()  # no stale orientation, gamma or profile may travel along
    rgb.save(target, "PNG", compress_level=PNG_COMPRESSION)
