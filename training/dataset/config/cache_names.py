"""The names that musubi-tuner gives its cache files for Wan.

Source: `get_latent_cache_path` and `get_text_encoder_output_cache_path` in
`dataset/image_video_dataset.py` of musubi-tuner, commit 30c658c.
"""

from training.dataset.config.buckets import Size
from training.dataset.config.frame_windows import Window

LATENT_SUFFIX = "_wan.safetensors"
TEXT_SUFFIX = "_wan_te.safetensors"


def latent_name(stem: str, size: Size, window: Window | None = None) -> str:
    """Return the name of a latent cache file, such as `a_00000-045_0960x0544_wan.safetensors`.

    Args:
        stem: The stem of the image or clip.
        size: An image's own width and height; for a clip, those of its bucket.
        window: The frames of a clip; None for an image.
    """
    frames = "" if window is None else f"_{window[0]:05d}-{window[1]:03d}"
    return f"{stem}{frames}_{size[0]:04d}x{size[1]:04d}{LATENT_SUFFIX}"


def text_name(stem: str) -> str:
    """Return the name of the cache file with the encoded caption of an image or clip."""
    return f"{stem}{TEXT_SUFFIX}"
