"""Where musubi-tuner writes text embeddings."""

from musubi_tuner.dataset.cache_io import save_file as mem_eff_save_file

__all__ = ["mem_eff_save_file"]
