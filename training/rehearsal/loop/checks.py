"""Refuses a base model that does not fit, or a missing state, with musubi-tuner's error messages.

Nothing else needs checking: the other options and the dataset TOML were checked when the run was
created.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from training.files.safetensors_header import TensorHeader
from training.rehearsal.model.shape import KEY_PREFIX, InChannels, tensor_shapes
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import read_header

_DTYPE_KEY = "blocks.0.cross_attn.k.weight"
_MIXED_PRECISIONS = {"F16": "fp16", "BF16": "bf16"}
_SHOWN_KEYS = 8

# For each task: the model's input channels, and whether it reads CLIP tokens.
_TASKS: dict[str, tuple[InChannels, bool]] = {
    "t2v-14B": (16, False),
    "t2v-1.3B": (16, False),
    "t2v-A14B": (16, False),
    "i2v-14B": (36, True),
    "i2v-A14B": (36, False),
}


def needs(task: str) -> dict[str, bool]:
    """Return whether a task's latent caches must hold a first frame (`image`) and CLIP tokens."""
    in_channels, clip = _TASKS[task]
    return {"image": in_channels == 36, "clip": clip}


def check_files(args: argparse.Namespace) -> None:
    """Check the base model's precision and shapes, and that a state to resume exists.

    Raises:
        MusubiError: A file is missing or does not fit the command line.
    """
    path = Path(args.dit)
    entries = _entries(read_header(path))
    _check_precision(entries, args)
    _check_base_model(entries, path, args.task)
    if args.resume is not None and not Path(args.resume).is_dir():
        raise MusubiError(
            f"ValueError: Tried to find {args.resume} but folder does not exist", "Check --resume."
        )


_Entries = dict[str, tuple[str, tuple[int, ...]]]


def _entries(header: TensorHeader) -> _Entries:
    return {
        name.removeprefix(KEY_PREFIX): (entry.dtype, entry.shape)
        for name, entry in header.tensors.items()
    }


def _check_precision(entries: _Entries, args: argparse.Namespace) -> None:
    if _DTYPE_KEY not in entries:
        raise MusubiError(
            "ValueError: Could not find the dtype in the model weights",
            f"{args.dit} is not a Wan diffusion model: check --dit.",
        )
    dtype = entries[_DTYPE_KEY][0]
    wanted = _MIXED_PRECISIONS.get(dtype)
    if wanted is not None and args.mixed_precision not in (wanted, "no"):
        raise MusubiError(
            f"AssertionError: DiT weights are in {wanted}, mixed precision must be {wanted} or no",
            f"Use --mixed_precision {wanted}.",
        )
    if args.fp8_scaled and dtype.startswith("F8"):
        raise MusubiError(
            "ValueError: DiT weights is already in fp8 format, cannot scale to fp8. "
            "Please use fp16/bf16 weights",
            "Use the fp16 or bf16 file.",
        )


def _check_base_model(entries: _Entries, path: Path, task: str) -> None:
    """Check the names and shapes against the task's tiny model; fail as torch would."""
    in_channels, clip = _TASKS[task]
    wanted = tensor_shapes(in_channels, clip=clip)
    found = {name: shape for name, (_, shape) in entries.items()}
    problems = _named("Missing key(s)", [name for name in wanted if name not in found])
    problems += _named("Unexpected key(s)", [name for name in found if name not in wanted])
    problems += [
        f"size mismatch for {name}: copying a param with shape torch.Size({list(found[name])}) "
        f"from checkpoint, the shape in current model is torch.Size({list(shape)})."
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ][:_SHOWN_KEYS]
    if problems:
        raise MusubiError(
            f"RuntimeError: Error(s) in loading state_dict for WanModel: {' '.join(problems)}",
            f"{path} is not the rehearsal's base model for --task {task}.",
        )


def _named(problem: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(f'"{name}"' for name in names[:_SHOWN_KEYS])
    return [f"{problem} in state_dict: {shown}{', ...' * (len(names) > _SHOWN_KEYS)}."]
