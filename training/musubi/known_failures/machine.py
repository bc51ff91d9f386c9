"""Failures that lie in the machine: memory, disk, GPU, network, packages, signals.

Those of a GPU and of a killed process are in the words of torch and Python.
"""

from training.musubi.known_failures.entry import KnownFailure

_MACHINE = "Have the operator mend the installation, then go on with the run."

MACHINE: tuple[KnownFailure, ...] = (
    KnownFailure(
        "gpu-memory",
        r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED",
        "The GPU's memory was not enough: {line}",
        "Train with fewer frames, a lower resolution or some blocks in main memory.",
        resumable=True,
        relief="memory",
    ),
    KnownFailure(
        "host-memory",
        r"^MemoryError|can't allocate memory|Cannot allocate memory"
        r"|DataLoader worker .* is killed by signal",
        "The machine's main memory was not enough.",
        "Give the machine more memory or fewer runs at once, then go on with the run.",
        resumable=True,
    ),
    KnownFailure(
        "disk-full",
        r"No space left on device|StorageFull|Disk quota exceeded"
        r"|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+",
        "The disk is full: {line}",
        "Free space on it, then resume the run. What was saved before is complete.",
        resumable=True,
    ),
    KnownFailure(
        "no-gpu",
        r"Torch not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs are available"
        r"|has no attribute '_cuda_|CUDA driver version is insufficient"
        r"|NVIDIA driver on your system is too old|no kernel image is available for execution",
        "The trainer found no GPU that it can use.",
        "Run the stage on a machine with an NVIDIA GPU, a CUDA build of torch beside musubi-tuner, "
        "and a driver that is new enough for it.",
        resumable=True,
    ),
    KnownFailure(
        "offline",
        r"We couldn't connect to 'https://huggingface\.co'|LocalEntryNotFoundError"
        r"|Failed to resolve 'huggingface\.co'",
        "Hugging Face cannot be reached for a file that is not here, such as the tokenizer.",
        "Connect the machine, or have the operator fetch that file once; then go on with the run.",
        resumable=True,
    ),
    KnownFailure(
        "gated",
        r"GatedRepoError|401 Client Error|403 Client Error",
        "Hugging Face refuses a file without its licence being accepted, or without a token.",
        "Accept the licence on the model's page and set HF_TOKEN, then go on with the run.",
        resumable=True,
    ),
    KnownFailure(
        "bitsandbytes-missing",
        r"No bitsandbytes|No module named 'bitsandbytes'",
        "The package bitsandbytes is missing, which the optimizer adamw8bit needs.",
        "Install bitsandbytes beside musubi-tuner, or train with the optimizer adamw.",
        resumable=True,
    ),
    KnownFailure(
        "package-missing",
        r"ModuleNotFoundError: No module named '(?P<package>[^']+)'",
        "The Python package {package} is missing beside musubi-tuner.",
        _MACHINE,
        resumable=True,
    ),
    KnownFailure(
        "killed",
        r"died with <Signals\.SIGKILL",
        "The program was killed from outside, as happens when the machine's main memory is full.",
        "Give the machine more memory or fewer runs at once, then go on with the run.",
        resumable=True,
    ),
    KnownFailure(
        "stopped",
        r"^KeyboardInterrupt|died with <Signals\.SIG(INT|TERM)",
        "The program was stopped from outside before it was done.",
        "Resume the run: it starts from the newest training state.",
        resumable=True,
    ),
    KnownFailure(
        "other-trainer",
        r"HookError: (?P<where>\S+) ",
        "The musubi-tuner here is not the version that this bot works with: {where} differs.",
        "Have the operator check out the commit that the log names, then go on with the run.",
        resumable=True,
    ),
)
