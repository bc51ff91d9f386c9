"""Where musubi-tuner encodes images and clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from musubi_tuner.dataset import cache_io


@dataclass
class Item:
    item_key: str
    frame_count: int | None
    path: str


@dataclass
class Dataset:
    datasource: Sequence[str]
    batches: Sequence[list[Item]]

    def retrieve_latent_cache_batches(self, num_workers: int) -> Iterator[tuple[str, list[Item]]]:
        assert num_workers == 1
        for batch in self.batches:
            yield "bucket", batch

    def retrieve_text_encoder_output_cache_batches(self, num_workers: int) -> Iterator[list[Item]]:
        assert num_workers == 1
        yield from self.batches


def encode_datasets(datasets: Sequence[Dataset], metadata: dict[str, str]) -> None:
    for dataset in datasets:
        for _, batch in dataset.retrieve_latent_cache_batches(1):
            for item in batch:
                cache_io.save_file({"latents": b"1234"}, item.path, metadata=metadata)
