"""A stand-in for the T5 text encoder: each word is a fixed random vector of its own."""

import hashlib
import re
from functools import lru_cache

import numpy as np

from training.rehearsal import tensor_file
from training.rehearsal.model.shape import TEXT_WIDTH
from training.rehearsal.tensor_file import Floats, Raw

_MAX_TOKENS = 512  # Wan's text length
TEXT_KEY = "varlen_t5_bfloat16"

_END = "</s>"
_TOKEN = re.compile(r"\w+|[^\w\s]")


def encode_caption(caption: str) -> dict[str, Raw]:
    """Return the tensors of a text cache file: `varlen_t5_bfloat16` [tokens, 4096]."""
    words = _TOKEN.findall(caption.casefold())[: _MAX_TOKENS - 1]
    tokens = np.stack([_vector(word) for word in (*words, _END)])
    return {TEXT_KEY: tensor_file.encode(tokens, "BF16")}


@lru_cache(maxsize=4096)
def _vector(word: str) -> Floats:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(TEXT_WIDTH, np.float32)
