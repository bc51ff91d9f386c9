"""Failures that are caused by the trainer's options; this project chooses most of them."""

from training.musubi.failures.known.entry import KnownFailure

_OPTION = "Correct the option. If this program chose it, report this as a bug, with the run's log."

OPTION_FAILURES = (
    KnownFailure(
        "fp8-scaled-alone",
        r"fp8_scaled requires fp8_base",
        "Scaled 8-bit weights (fp8_scaled) work only together with 8-bit weights (fp8_base).",
        _OPTION,
        resumable=False,
    ),
    KnownFailure(
        "too-many-blocks",
        r"Cannot swap more than (?P<most>\d+) blocks",
        "At most {most} blocks of this model can be kept in main memory.",
        "Start a new run with blocks-to-swap no higher than that.",
        resumable=False,
    ),
    KnownFailure(
        "two-devices",
        r"Expected all tensors to be on the same device|found at least two devices"
        r"|Expected .{0,40}on device cuda|is on (cpu|cuda), (different|but expected)"
        r"|Input type .*and weight type \(torch\.(cuda\.)?\w+Tensor\)",
        "A part of the model is in main memory while the rest is on the GPU.",
        "Start a new run without keeping blocks in main memory. If none were kept there, report "
        "this as a bug, with the run's log.",
        resumable=False,
    ),
    KnownFailure(
        "mixed-precision",
        r"expected scalar type \w+ but found|must have the same dtype(?!.*Float8)"
        r"|should be the same"
        r"|expected m1 and m2 to have the same dtype|not implemented for '(Half|BFloat16)'"
        r"|mat1 and mat2 to have the same dtype",
        "Training uses a different precision than the base model: {line}",
        "Train with the precision of the base model's file (fp16 or bf16).",
        resumable=False,
    ),
    KnownFailure(
        "adapter-precision",
        r"Attempting to unscale FP16 gradients",
        "The trained weights are in fp16, so their gradients cannot be scaled.",
        "Train in full precision (without full_fp16), or use the mixed precision bf16.",
        resumable=False,
    ),
    KnownFailure(
        "nothing-trained",
        r"No inf checks were recorded|does not require grad|optimizer got an empty parameter list",
        "No weight is being trained: the adapter is not connected to the model.",
        _OPTION,
        resumable=False,
    ),
    KnownFailure(
        "attention",
        r"either --sdpa, .* must be specified"
        r"|name '(xops|flash_attn\w*|sageattn\w*)' is not defined"
        r"|SageAttention doesn't support training|No module named '(flash_attn\w*|xformers\S*"
        r"|sageattention)'|No operator found for \W?memory_efficient_attention"
        r"|(Unknown|Unsupported) attention mode|FlashAttention\S* is not (available|installed)"
        r"|FlashAttention\d has been toggled on"
        r"|(split_attn|[qk]_lens|deterministic|causal) is not supported (in|except)",
        "The trainer was started with an attention implementation that is not available.",
        f"Use --sdpa. {_OPTION}",
        resumable=False,
    ),
    KnownFailure(
        "network-module",
        r"No LoRA modules found|'NoneType' object has no attribute 'startswith'",
        "The trainer was started with the wrong kind of adapter for this model.",
        f"Wan needs --network_module networks.lora_wan. {_OPTION}",
        resumable=False,
    ),
    KnownFailure(
        "recomputation",
        r"CheckpointError|Recomputed values for the following tensors",
        "Gradient checkpointing computed a part of the model twice, with different results.",
        "Train without compilation. If compilation is off, report this as a bug, with the run's "
        "log.",
        resumable=False,
    ),
    KnownFailure(
        "tracker",
        r"wandb\.errors|wandb\.sdk|^wandb: ERROR|api_key not configured|comet_ml\.|mlflow\.",
        "The experiment tracker refused access: {line}",
        "Log in to the tracker (Weights & Biases: WANDB_API_KEY), or train without --log_with.",
    ),
    KnownFailure(
        "options",
        r"error: (unrecognized arguments|argument |the following arguments|ambiguous option)"
        r"|torch\.optim' has no attribute|os\.PathLike object, not (NoneType|bool)"
        r"|unsupported operand type\(s\) for \+: 'NoneType' and 'str'"
        r"|`fused=True` requires all the params"
        r"|persistent_workers option needs|logging_dir is required when|does not require `num_warm"
        r"|requires `num_\w+`, please|path to DiT model is required"
        r"|timestep_boundary is not specified|(CLIP|clip|vae|VAE) \w+ is required"
        r"|not supported with offloading inactive DiT|adafactor scheduler must be used"
        r"|full_(fp|bf)16 requires mixed precision|block_swap_\w+ (requires|must be)"
        r"|num_warmup_steps \(\S+\) must be less|\"min_lr\" should be less",
        "The trainer rejected its options: {line}",
        _OPTION,
        resumable=False,
    ),
)
