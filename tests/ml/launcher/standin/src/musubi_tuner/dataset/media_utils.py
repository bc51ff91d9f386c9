"""Where musubi-tuner reads clips."""

import av

__all__ = ["av"]
