"""Every known failure of musubi-tuner and its libraries; the first match wins.

Sources: logs of musubi-tuner v0.3.4, in which each mistake was made on purpose, and public bug
reports of musubi-tuner, torch, accelerate, bitsandbytes, huggingface_hub and safetensors. The
tests' table of logs names each report.
"""

from training.musubi.failures.known.dataset import DATASET_FAILURES
from training.musubi.failures.known.entry import KnownFailure
from training.musubi.failures.known.gpu import GPU_FAILURES
from training.musubi.failures.known.installation import INSTALLATION_FAILURES
from training.musubi.failures.known.machine import LAUNCHER_ALONE, MACHINE_FAILURES
from training.musubi.failures.known.modal import MODAL_FAILURES
from training.musubi.failures.known.network import NETWORK_FAILURES
from training.musubi.failures.known.options import OPTION_FAILURES
from training.musubi.failures.known.weights import WEIGHT_FAILURES

ENTRIES: tuple[KnownFailure, ...] = (
    LAUNCHER_ALONE,
    *GPU_FAILURES,
    *MACHINE_FAILURES,
    *MODAL_FAILURES,
    *NETWORK_FAILURES,
    *OPTION_FAILURES,
    *INSTALLATION_FAILURES,
    *WEIGHT_FAILURES,
    *DATASET_FAILURES,
)
