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
_MINIMUM = ("base_model_version", "network_module", "network_dim", "network_alpha")
_LEGACY_HASH_START, _LEGACY_HASH_BYTES = 0x100000, 0x10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The size of the training."""

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
    """Return the `ss_` entries shared by all files of a run."""
    values: dict[str, object] = {name: getattr(args, name) for name in _COPIED}
    values |= {
        "session_id": session_id(args.seed),
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
    if args.vae is not None:
        values["vae_name"] = Path(args.vae).name
    return {f"ss_{name}": str(value) for name, value in values.items()}


def session_id(seed: int) -> int:
    """Return musubi's random run id, here derived from the seed."""
    return int.from_bytes(hashlib.sha256(f"session {seed}".encode()).digest()[:4], "big")


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
        args: The command line; its `--metadata_*` options go into `modelspec`.
        run: The result of `run_metadata`.
        tensors: The file's tensors, to be hashed.
        epoch: Finished epochs.
        step: Finished optimizer steps.
        now: Unix time of the file.
    """
    metadata = dict(run)
    if args.no_metadata:
        metadata = {f"ss_{name}": run[f"ss_{name}"] for name in _MINIMUM}
    else:
        metadata |= {
            "ss_training_finished_at": str(now),
            "ss_steps": str(step),
            "ss_epoch": str(epoch),
        }
    metadata |= _model_spec(args, now)
    return metadata | _hashes(tensors, metadata)


def _model_spec(args: argparse.Namespace, now: float) -> dict[str, str]:
    sides = [int(side) for side in (args.metadata_reso or "1280,720").split(",")]
    date = datetime.fromtimestamp(int(now), UTC).replace(tzinfo=None)
    spec = {
        "sai_model_spec": "1.0.0",
        "architecture": f"{args.metadata_arch or 'wan2.1'}/lora",
        "implementation": "https://github.com/Wan-Video/Wan2.1",
        "title": args.metadata_title or args.output_name,
        "date": date.isoformat(),
        "resolution": f"{sides[0]}x{sides[-1]}",
    }
    for name in ("author", "description", "license", "tags"):
        value = getattr(args, f"metadata_{name}")
        if value is not None:
            spec[name] = value
    if args.min_timestep is not None or args.max_timestep is not None:
        lowest = 0 if args.min_timestep is None else args.min_timestep
        highest = 1000 if args.max_timestep is None else args.max_timestep
        spec["timestep_range"] = f"{lowest},{highest}"
    return {f"modelspec.{name}": value for name, value in spec.items()}


def _hashes(tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes by which web UIs identify a file: of its tensors, and of a fixed range."""
    training_only = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    parts = serialize(tensors, training_only)
    piece = b"".join(parts)[_LEGACY_HASH_START : _LEGACY_HASH_START + _LEGACY_HASH_BYTES]
    return {
        "sshs_model_hash": hashlib.sha256(b"".join(parts[1:])).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(piece).hexdigest()[:8],
    }
