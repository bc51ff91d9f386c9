"""Where musubi-tuner lists its cache files."""

import glob

__all__ = ["glob"]
