"""Failures of the GPU, its driver and its libraries."""

from training.musubi.failures.known.entry import ELSEWHERE, KnownFailure

# Xid errors that are caused by a program's own memory accesses, not by a hardware fault. Source:
# NVIDIA's list of Xid errors.
_SOFTWARE_XID = r" \(PCI:[0-9A-Fa-f:.]+\): (13|31|43|45)\b"
_LESS = "Use fewer frames or a lower resolution, or keep some blocks in main memory."

GPU_FAILURES = (
    KnownFailure(
        "host-memory-pinned",
        r"CUDA error: out of memory|cudaErrorMemoryAllocation",
        "The machine could not reserve main memory for transfers to the GPU.",
        "Give the machine more memory or keep fewer blocks in main memory, then resume the run.",
        within=r"in (_?pin_memory\w*|_?do_one_iteration)\b|pin_memory\(",
    ),
    KnownFailure(
        "gpu-memory",
        r"OutOfMemoryError|(CUDA|HIP|XPU|MPS backend) out of memory|CUDA error: out of memory"
        r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
        r"|Make sure you have enough GPU RAM|Triton Error \[CUDA\]: out of memory"
        r"|^Error out of memory at line"
        r"|[Uu]nable to find a valid cuDNN algorithm|cuda runtime error \(2\)"
        r"|CUDA driver error: out of memory|Cuda failure \d* ?'out of memory'",
        "The GPU ran out of memory: {line}",
        _LESS,
        relief="memory",
    ),
    KnownFailure(
        "gpu-library-start",
        r"CU(BLAS|DNN|SOLVER)_STATUS_NOT_INITIALIZED",
        "A CUDA library could not start on the GPU, usually because its memory is full: {line}",
        f"{_LESS} If the GPU has free memory, try again on another machine.",
        relief="memory",
    ),
    KnownFailure(
        "gpu-index",
        r"device-side assert triggered|Assertion `.*(index|idx).*` failed|cudaErrorAssert",
        "A value was out of range in a calculation on the GPU. The GPU itself is fine.",
        "Rebuild the caches of this dataset and check that the run uses the right base model. If "
        "it happens again, report it with the run's log.",
        relief="caches",
    ),
    KnownFailure(
        "gpu-display-timeout",
        r"the launch timed out and was terminated|cudaErrorLaunchTimeout",
        "The display driver stopped a calculation: it took too long for a GPU with a screen.",
        "Train on a GPU without a screen, or raise the driver's time limit (on Windows TdrDelay); "
        "then resume the run.",
    ),
    KnownFailure(
        "gpu-hardware",
        rf"ECC error|Xid\b(?!{_SOFTWARE_XID})|fallen off the bus|GPU is lost|cudaErrorECC"
        r"|(NVLink|nvlink) error|cudaErrorContained|hardware stack error|GPU requires reset"
        r"|[Uu]nable to determine the device handle|double bit",
        "The GPU has a hardware fault: {line}",
        f"{ELSEWHERE} If the machine is yours, restart it; if the fault returns, replace the GPU.",
        retry=True,
    ),
    KnownFailure(
        "gpu-fault",
        rf"illegal memory access|Xid{_SOFTWARE_XID}"
        r"|CUDA error: (misaligned address|an illegal instruction"
        r"|invalid program counter|operation not supported on global/shared address space"
        r"|unspecified launch failure|unknown error)|unspecified launch failure"
        r"|cudaError(IllegalAddress|LaunchFailure|MisalignedAddress|Unknown)\b"
        r"|CUDA_ERROR_(ILLEGAL_ADDRESS|LAUNCH_FAILED|UNKNOWN)|TensorRT internal",
        "A calculation crashed on the GPU: {line}",
        f"{ELSEWHERE} If it stops at the same step again, update the driver and torch.",
        retry=True,
    ),
    KnownFailure(
        "gpu-library",
        r"CUDNN_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED|MAPPING_ERROR)"
        r"|CUBLAS_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"
        r"|CUSOLVER_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED)|CUFFT_(INTERNAL_ERROR|EXEC_FAILED)",
        "A CUDA library failed on the GPU: {line}",
        f"{ELSEWHERE} If it happens again, the GPU's memory may be full: use fewer frames or a "
        "lower resolution.",
        retry=True,
    ),
    KnownFailure(
        "gpu-operation",
        r"CU(BLAS|DNN)_STATUS_(NOT_SUPPORTED|INVALID_VALUE|BAD_PARAM)"
        r"|unable to find an engine to execute|CUDA error: invalid (configuration )?argument"
        r"|canUse32BitIndexMath|integer out of range",
        "The GPU's libraries cannot do a calculation of this size or kind: {line}",
        "Use fewer frames or a lower resolution, or a newer torch in musubi-tuner's environment.",
        relief="memory",
    ),
    KnownFailure(
        "gpu-busy",
        r"devices?(\(s\))? (is/)?are busy or unavailable|devices? .{0,20}busy or unavailable"
        r"|cudaErrorDevicesUnavailable",
        "Another program holds the GPU.",
        "End the other program, or resume the run on another machine.",
        retry=True,
    ),
    KnownFailure(
        "gpu-communication",
        r"NCCL(?!.*no GPUs found)|nccl\w*Error|DistBackendError|Watchdog caught collective",
        "The GPUs lost contact with each other: {line}",
        f"{ELSEWHERE} If it happens again, train on one GPU.",
        retry=True,
    ),
    KnownFailure(
        "driver-too-old",
        r"driver on your system is too old|CUDA driver version is insufficient"
        r"|PTX was compiled with an unsupported toolchain|UNSUPPORTED_PTX|InsufficientDriver"
        r"|unsatisfied condition: cuda|named symbol not found|please update your driver"
        r"|nvidia driver .{0,30}too old",
        "The NVIDIA driver is older than torch needs: {line}",
        "Update the NVIDIA driver, or install torch for an older CUDA in musubi-tuner's "
        "environment; then resume the run.",
    ),
    KnownFailure(
        "driver-broken",
        r"[Dd]river/library version mismatch|initialize NVML|NVML_SUCCESS|NVMLError|nvml\w* failed"
        r"|forward compatibility was attempted|unsupported display driver"
        r"|SYSTEM_DRIVER_MISMATCH|system not yet initialized|Error 80[234]\b|Error 999\b"
        r"|CUDA error: (initialization error|system (has|not)|OS call failed)"
        r"|CUDA unknown error|CUDA driver initialization failed|Error 304\b|driver shutting down"
        r"|NVIDIA-SMI has failed|RmInitAdapter failed",
        "The NVIDIA driver does not work on this machine: {line}",
        f"{ELSEWHERE} If the machine is yours, restart it: a driver update may be incomplete.",
        retry=True,
    ),
    KnownFailure(
        "gpu-unsupported",
        r"no kernel image is available|not compatible with the current PyTorch"
        r"|device kernel image is invalid|invalid device function|Value 'sm_\w+' is not defined"
        r"|CU(BLAS|DNN)_STATUS_ARCH_MISMATCH|fp8e4nv not supported in this architecture"
        r"|only supported on CUDA devices with compute capability|only supports Ampere"
        r"|requires? (a GPU with )?compute capability|TensileLibrary"
        r"|not supported on (this|your) GPU|invalid kernel image"
        r"|invalid value for --gpu-architecture",
        "The installed torch, or another package, does not support this GPU: {line}",
        "Install a torch that supports this GPU in musubi-tuner's environment, or use another GPU; "
        "then resume the run.",
    ),
    KnownFailure(
        "gpu-managed-memory",
        r"^Error operation not supported|CUDA error: operation not supported|cudaErrorNotSupported",
        "This GPU, or share of a GPU, has no managed memory, which paged optimizers need.",
        "Use an optimizer that is not paged (adamw8bit, adamw), or a whole GPU.",
    ),
    KnownFailure(
        "gpu-kernel-size",
        r"out of resource: (shared memory|registers|threads|tensor memory)",
        "A compiled GPU kernel needs more shared memory or registers than this GPU has: {line}",
        "Train without compilation, or install a newer torch with its Triton; then resume the run.",
    ),
    KnownFailure(
        "gpu-container",
        r"could not select device driver|nvidia-container-cli|runtime name: nvidia"
        r"|unresolvable CDI devices|nvidia-container-runtime",
        "The container has no access to the GPU: the host lacks the NVIDIA driver or Docker's "
        "NVIDIA runtime.",
        "Install the driver and the NVIDIA Container Toolkit on the host, restart Docker and start "
        "the container with --gpus all; then resume the run.",
    ),
    KnownFailure(
        "no-gpu",
        r"Torch not compiled with CUDA|Found no NVIDIA driver|No (CUDA|HIP) GPUs are available"
        r"|has no attribute '_cuda_|torch\.cuda\.is_available\(\) is False"
        r"|(?<!\. Error: )libcuda\.so"
        r"|mixed precision requires a GPU"
        r"|bf16/gpu|no CUDA-capable device|invalid device ordinal|nvidia-smi: command not found"
        r"|bf16 mixed precision requires|no GPUs found",
        "The trainer found no usable GPU.",
        "Use a machine with an NVIDIA GPU and a recent driver, and install a CUDA build of torch "
        "in musubi-tuner's environment.",
    ),
)
