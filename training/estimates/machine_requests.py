"""The cores and main memory that stages request on Modal."""

import math
from dataclasses import dataclass
from typing import assert_never

from training.catalogue.models import Model, find_model
from training.files.sizes import GIB
from training.lora.modules import modules_of
from training.runs.hyperparameters import ExpertSettings
from training.runs.spec import RunSpec
from training.vocabulary import StageKey

# Training without swapped blocks took 3.5 to 4.0 GiB of main memory, measured with an idle data
# loader. A busy data loader takes 0.8 GiB more, and at most half a core (`bot/deploy/README.md`).
# The rest of the request serves as page cache for the weights.
_BASE_CORES, _BASE_GIB = 2.0, 16.0
# The size of `models_t5_umt5-xxl-enc-bf16.pth`; torch reads the whole file into main memory.
_TEXT_ENCODER_BYTES = 11_361_920_418


@dataclass(frozen=True, slots=True)
class MachineRequest:
    """Physical cores, and GiB of main memory."""

    cores: float
    memory_gib: int


def _request(extra_bytes: float = 0) -> MachineRequest:
    return MachineRequest(_BASE_CORES, math.ceil(_BASE_GIB + extra_bytes / GIB))


PREPARE_REQUEST = MachineRequest(4.0, 8)
FETCH_REQUEST = MachineRequest(2.0, 4)
PUBLISH_REQUEST = MachineRequest(1.0, 2)
# The merge itself needs under 2 GiB; the rest serves as page cache for its files.
MERGE_REQUEST = MachineRequest(8.0, 16)
# The text encoder is read into main memory before it is moved to the GPU.
CACHE_REQUEST = _request(_TEXT_ENCODER_BYTES)
TRAIN_REQUEST = _request()


def training_request(model: Model, settings: ExpertSettings) -> MachineRequest:
    """Return the machine to request for training an expert; swapped blocks need more memory."""
    return _request(settings.blocks_to_swap * _block_bytes(model, fp8=settings.fp8))


def stage_request(spec: RunSpec, key: StageKey) -> MachineRequest:
    match key.stage:
        case "prepare":
            return PREPARE_REQUEST
        case "fetch":
            return FETCH_REQUEST
        case "cache":
            return CACHE_REQUEST
        case "merge":
            return MERGE_REQUEST
        case "train":
            settings = spec.expert(key.expert or "main").settings
            return training_request(find_model(spec.model), settings)
        case "publish":
            return PUBLISH_REQUEST
        case _:
            assert_never(key.stage)


def _block_bytes(model: Model, *, fp8: bool) -> int:
    """Return the bytes of a block's linear layers, which hold 99.9% of the block's weights."""
    first = (widths for name, widths in modules_of(model).items() if name.startswith("blocks.0."))
    return sum(inside * outside for inside, outside in first) * (1 if fp8 else 2)
