"""Where musubi-tuner encodes captions."""

from collections.abc import Sequence

from musubi_tuner.cache_latents import Dataset
from musubi_tuner.utils import safetensors_utils


def process_text_encoder_batches(
    num_workers: int, skip_existing: bool, batch_size: int, datasets: Sequence[Dataset]
) -> None:
    assert (skip_existing, batch_size) == (True, 16)
    for dataset in datasets:
        for batch in dataset.retrieve_text_encoder_output_cache_batches(num_workers):
            for item in batch:
                safetensors_utils.mem_eff_save_file({"t5": b"12"}, item.path, metadata={})
