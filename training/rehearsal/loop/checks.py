"""The refusals that musubi-tuner makes before it trains, in its order; imports no torch."""

import argparse
from pathlib import Path

from training.files.safetensors_header import TensorHeader
from training.rehearsal.model.shape import KEY_PREFIX, InChannels, tensor_shapes
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import read_header

_DTYPE_KEY = "blocks.0.cross_attn.k.weight"
_MIXED_PRECISIONS = {"F16": "fp16", "BF16": "bf16"}
_SHOWN_KEYS = 8

# Block swapping leaves one block on the GPU; the numbers are those of the real models.
_SWAPPABLE_BLOCKS = {"t2v-1.3B": 29}
_SWAPPABLE_BLOCKS_14B = 39

_TASKS: dict[str, tuple[InChannels, bool]] = {
    "t2v-14B": (16, False),
    "t2v-1.3B": (16, False),
    "t2v-A14B": (16, False),
    "i2v-14B": (36, True),
    "i2v-A14B": (36, False),
}

_LEFT_OUT = (
    "base_weights",
    "dim_from_weights",
    "dit_high_noise",
    "huggingface_repo_id",
    "lr_scheduler_type",
    "network_args",
    "network_dropout",
    "num_timestep_buckets",
    "one_frame",
    "resume_from_huggingface",
    "sample_prompts",
    "scale_weight_norms",
    "show_timesteps",
)


def is_image_to_video(task: str) -> bool:
    """Tell whether the task trains on a first frame, and its caches need `latents_image`."""
    return _TASKS[task][0] == 36


def needs_clip(task: str) -> bool:
    """Tell whether the task's model reads CLIP tokens, and its caches need `clip`."""
    return _TASKS[task][1]


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what musubi refuses before it opens the dataset.

    Raises:
        MusubiError: An option is missing, contradicts another, or is no part of the rehearsal.
    """
    if args.dataset_config is None:
        raise MusubiError("ValueError: dataset_config is required", "Add --dataset_config.")
    if args.dit is None:
        raise MusubiError("ValueError: path to DiT model is required", "Add --dit.")
    if args.fp8_scaled and not args.fp8_base:
        raise MusubiError("AssertionError: fp8_scaled requires fp8_base", "Add --fp8_base.")
    if args.sage_attn:
        raise MusubiError(
            "ValueError: SageAttention doesn't support training currently. Please use `--sdpa` or "
            "`--xformers` etc. instead.",
            "Use --sdpa.",
        )
    for name in _LEFT_OUT:
        if getattr(args, name):
            raise _left_out(f"--{name}")
    if args.task not in _TASKS:
        raise _left_out(f"--task {args.task}")
    _check_precision(args)


def _left_out(option: str) -> MusubiError:
    return MusubiError(
        f"ValueError: The rehearsal has no {option}.", "Leave it out, or train with musubi-tuner."
    )


def _check_precision(args: argparse.Namespace) -> None:
    entry = _entries(read_header(Path(args.dit))).get(_DTYPE_KEY)
    if entry is None:
        raise MusubiError(
            "ValueError: Could not find the dtype in the model weights",
            f"{args.dit} is no Wan diffusion model: check --dit.",
        )
    dtype = entry[0]
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


def _entries(header: TensorHeader) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        name.removeprefix(KEY_PREFIX): (entry.dtype, entry.shape)
        for name, entry in header.tensors.items()
    }


def check_training(args: argparse.Namespace) -> None:
    """Refuse what musubi refuses after it opened the dataset, up to the first step.

    Raises:
        MusubiError: An option is missing or does not fit, or the base model is another one.
    """
    if args.log_with is not None and args.logging_dir is None and args.log_with != "wandb":
        raise MusubiError(
            f"ValueError: logging_dir is required when log_with is {args.log_with}",
            "Add --logging_dir.",
        )
    _check_attention(args)
    check_base_model(Path(args.dit), args.task)
    blocks = _SWAPPABLE_BLOCKS.get(args.task, _SWAPPABLE_BLOCKS_14B)
    if (args.blocks_to_swap or 0) > blocks:
        raise MusubiError(
            f"AssertionError: Cannot swap more than {blocks} blocks. "
            f"Requested {args.blocks_to_swap} blocks to swap.",
            f"Use --blocks_to_swap {blocks} or less.",
        )
    _check_network(args)
    if args.persistent_data_loader_workers and args.max_data_loader_n_workers == 0:
        raise MusubiError(
            "ValueError: persistent_workers option needs num_workers > 0",
            "Leave out --persistent_data_loader_workers.",
        )
    if args.resume is not None and not Path(args.resume).is_dir():
        raise MusubiError(
            f"ValueError: Tried to find {args.resume} but folder does not exist", "Check --resume."
        )
    _check_output(args)


def _check_attention(args: argparse.Namespace) -> None:
    if args.sdpa:
        return
    for chosen, module in ((args.flash_attn, "flash_attn"), (args.xformers, "xops")):
        if chosen:
            raise MusubiError(f"NameError: name '{module}' is not defined", "Use --sdpa.")
    raise MusubiError(
        "ValueError: either --sdpa, --flash-attn, --flash3, --sage-attn or --xformers must be "
        "specified",
        "Add --sdpa.",
    )


def _check_network(args: argparse.Namespace) -> None:
    if args.network_module is None:
        raise MusubiError(
            "AttributeError: 'NoneType' object has no attribute 'startswith'",
            "Add --network_module networks.lora_wan.",
        )
    if args.network_module != "networks.lora_wan":
        raise MusubiError(
            "RuntimeError: No LoRA modules found", "Use --network_module networks.lora_wan."
        )
    if not args.optimizer_type:
        raise MusubiError(
            "AttributeError: module 'torch.optim' has no attribute ''",
            "Add --optimizer_type adamw8bit.",
        )


def _check_output(args: argparse.Namespace) -> None:
    # musubi finds out at the first save; hours of training are lost by then.
    if args.output_dir is None:
        raise MusubiError(
            "TypeError: expected str, bytes or os.PathLike object, not NoneType",
            "Add --output_dir.",
        )
    if args.output_name is None:
        raise MusubiError(
            "TypeError: unsupported operand type(s) for +: 'NoneType' and 'str'",
            "Add --output_name.",
        )


def check_base_model(path: Path, task: str) -> None:
    """Refuse a base model whose tensors are not exactly those of the task's tiny model.

    Raises:
        MusubiError: Names or shapes differ, worded as torch's strict loading words it.
    """
    in_channels, clip = _TASKS[task]
    wanted = tensor_shapes(in_channels, clip=clip)
    found = {name: shape for name, (_, shape) in _entries(read_header(path)).items()}
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


def _named(problem: str, names: list[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(f'"{name}"' for name in names[:_SHOWN_KEYS])
    return [f"{problem} in state_dict: {shown}{', ...' * (len(names) > _SHOWN_KEYS)}."]
