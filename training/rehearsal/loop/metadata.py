"""The metadata of an adapter file, key for key as musubi-tuner writes it."""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from training.dataset.config.toml_schema import DatasetKeys
from training.rehearsal.data.datasets import describe
from training.rehearsal.tensor_file import Raw, serialize

_COPIED = (
    "output_name",
    "learning_rate",
    "gradient_checkpointing",
    "gradient_checkpointing_cpu_offload",
    "gradient_accumulation_steps",
    "lr_warmup_steps",
    "lr_scheduler",
    "network_module",
    "network_dim",
    "network_alpha",
    "network_dropout",
    "mixed_precision",
    "seed",
    "training_comment",
    "max_grad_norm",
    "weighting_scheme",
    "logit_mean",
    "logit_std",
    "mode_scale",
    "guidance_scale",
    "timestep_sampling",
    "sigmoid_scale",
    "discrete_flow_shift",
)
_LEGACY_HASH_START, _LEGACY_HASH_BYTES = 0x100000, 0x10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many items, batches, epochs and steps a training run has."""

    items: int
    batches_per_epoch: int
    epochs: int
    steps: int


def run_metadata(
    args: argparse.Namespace,
    datasets: Sequence[DatasetKeys],
    counts: Counts,
    *,
    optimizer: str,
    started_at: float,
) -> dict[str, str]:
    """Return the `ss_` entries that are the same in all adapter files of a run."""
    # musubi draws this number at random; here equal seeds must give equal files.
    session = hashlib.sha256(f"session {args.seed}".encode()).digest()
    values: dict[str, object] = {name: getattr(args, name) for name in _COPIED}
    values |= {
        "session_id": int.from_bytes(session[:4], "big"),
        "training_started_at": started_at,
        "num_train_items": counts.items,
        "num_batches_per_epoch": counts.batches_per_epoch,
        "num_epochs": counts.epochs,
        "max_train_steps": counts.steps,
        "base_model_version": "wan",
        "optimizer": optimizer,
        "fp8_base": args.fp8_base,
        "full_fp16": False,
        "full_bf16": False,
        "datasets": json.dumps([describe(dataset) for dataset in datasets]),
        "sd_model_name": Path(args.dit).name,
    }
    return {f"ss_{name}": str(value) for name, value in values.items()}


def file_metadata(
    args: argparse.Namespace,
    run: Mapping[str, str],
    tensors: Mapping[str, Raw],
    *,
    epoch: int,
    step: int,
    now: float,
) -> dict[str, str]:
    """Return all metadata of one adapter file.

    Args:
        args: The options of the train script.
        run: The result of `run_metadata`.
        tensors: The file's tensors, whose hashes go into the metadata.
        epoch: Number of epochs, counting an unfinished one.
        step: Number of finished optimizer steps.
        now: Unix time to store in the file.
    """
    metadata = {
        **run,
        "ss_training_finished_at": str(now),
        "ss_steps": str(step),
        "ss_epoch": str(epoch),
        **_model_spec(args, now),
    }
    return metadata | _hashes(tensors, metadata)


def _model_spec(args: argparse.Namespace, now: float) -> dict[str, str]:
    date = datetime.fromtimestamp(int(now), UTC).replace(tzinfo=None)
    spec = {
        "sai_model_spec": "1.0.0",
        "architecture": "wan2.1/lora",
        "implementation": "https://github.com/Wan-Video/Wan2.1",
        "title": args.output_name,
        "date": date.isoformat(),
        "resolution": "1280x720",
    }
    if args.min_timestep is not None or args.max_timestep is not None:
        lowest = 0 if args.min_timestep is None else args.min_timestep
        highest = 1000 if args.max_timestep is None else args.max_timestep
        spec["timestep_range"] = f"{lowest},{highest}"
    return {f"modelspec.{name}": value for name, value in spec.items()}


def _hashes(tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes by which web UIs identify a file.

    One covers all tensors, the other the 64 KiB at offset 1 MiB.
    """
    training_only = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    parts = serialize(tensors, training_only)
    piece = b"".join(parts)[_LEGACY_HASH_START : _LEGACY_HASH_START + _LEGACY_HASH_BYTES]
    return {
        "sshs_model_hash": hashlib.sha256(b"".join(parts[1:])).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(piece).hexdigest()[:8],
    }
