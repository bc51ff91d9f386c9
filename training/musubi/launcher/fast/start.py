"""Starts compiled steps for musubi-tuner's training loop."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, get_args

import torch

from training.musubi.launcher.fast.compile_cache import cache_of
from training.musubi.launcher.fast.session import FastSession, Mode, SessionHooks


def started(
    wanted: str,
    accelerator: Any,
    transformer: Any,
    *,
    pause_saving: Callable[[], AbstractContextManager[Any]],
    on_refused: Callable[[str], None],
    previous: str | None,
) -> FastSession:
    """Return a session; its blocks are compiled, or it says why they are not.

    Args:
        wanted: `16bit` or `fp8`.
        accelerator: accelerate's `Accelerator`.
        transformer: The model that accelerate prepared.
        pause_saving: As in `SessionHooks`.
        on_refused: As in `SessionHooks`.
        previous: As in `SessionHooks`.

    Raises:
        ValueError: `wanted` is neither `16bit` nor `fp8`.
    """
    mode: Mode | None = next((each for each in get_args(Mode) if each == wanted), None)
    if mode is None:
        raise ValueError(f"{wanted!r} is not one of {', '.join(get_args(Mode))}")
    is_gpu = accelerator.device.type == "cuda"
    gpu = torch.cuda.get_device_name(accelerator.device) if is_gpu else "CPU"
    cache = cache_of(os.environ, gpu, torch.__version__)
    hooks = SessionHooks(
        pause_saving=pause_saving,
        on_refused=on_refused,
        on_compiled=cache.save if cache is not None else _nothing,
        previous=previous,
    )
    session = FastSession(mode, accelerator.unwrap_model(transformer), hooks)
    if accelerator.gradient_accumulation_steps != 1:
        session.refuse("gradients are summed over several batches")
    else:
        session.start()
    return session


def _nothing() -> None:
    pass
