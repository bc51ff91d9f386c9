"""Failures that lie in how the trainer was started, which is mostly this program's doing."""

from training.musubi.known_failures.entry import KnownFailure

_OUR_BUG = "This is a bug of this program; report it with the run's log."

OPTIONS: tuple[KnownFailure, ...] = (
    KnownFailure(
        "fp8-scaled-alone",
        r"fp8_scaled requires fp8_base",
        "Scaled 8-bit weights were asked for without 8-bit weights.",
        _OUR_BUG,
    ),
    KnownFailure(
        "caption-extension",
        r"FileNotFoundError: \[Errno 2\] No such file or directory: ''",
        "The trainer was not told how caption files are called.",
        _OUR_BUG,
    ),
    KnownFailure(
        "mixed-sizes",
        r"stack expects each tensor to be equal size",
        "Items of different sizes came into one batch, since buckets were off.",
        _OUR_BUG,
    ),
    KnownFailure(
        "dataset-file",
        r"TomlDecodeError|voluptuous\.error|file not found / |frame_extraction .* not supported"
        r"|cache directory should be unique|cache_directory is required"
        r"|has no attribute 'datasource'",
        "The dataset's configuration file is not as the trainer wants it: {line}",
        _OUR_BUG,
    ),
    KnownFailure(
        "too-many-blocks",
        r"Cannot swap more than (?P<most>\d+) blocks",
        "At most {most} blocks of this model can be kept in main memory.",
        "Start the run again with blocks-to-swap no higher than that.",
    ),
    KnownFailure(
        "attention",
        r"either --sdpa, .* must be specified|name '(xops|flash_attn\w*)' is not defined"
        r"|SageAttention doesn't support training",
        "The trainer was started with a kind of attention that is not there.",
        _OUR_BUG,
    ),
    KnownFailure(
        "network-module",
        r"No LoRA modules found|'NoneType' object has no attribute 'startswith'",
        "The trainer was started with the wrong kind of adapter for this model.",
        _OUR_BUG,
    ),
    KnownFailure(
        "options",
        r"error: (unrecognized arguments|argument |the following arguments)"
        r"|torch\.optim' has no attribute|os\.PathLike object, not (NoneType|bool)"
        r"|unsupported operand type\(s\) for \+: 'NoneType' and 'str'"
        r"|persistent_workers option needs|logging_dir is required when",
        "The trainer was started with options that it refuses: {line}",
        _OUR_BUG,
    ),
)
