"""Compares musubi-tuner's own training step with the compiled step, on random weights.

It runs in musubi-tuner's environment on a machine with a GPU, and prints each result at once as a
line of JSON.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import gc
import json
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from training.musubi.launcher.fast.attention import fastest
from training.musubi.launcher.fast.bench_learning import learn
from training.musubi.launcher.fast.bench_model import FAMILIES, Family, model_of, network_of
from training.musubi.launcher.fast.check import Verdict, check
from training.musubi.launcher.fast.graph import Kept
from training.musubi.launcher.fast.memory import GpuMemory, StepMemory, run_block
from training.musubi.launcher.fast.model import BlockCall, FastModel
from training.musubi.launcher.fast.plan import GIB, StepSizes

_LAYERS = 40
_KERNELS = 25
# Latent frames, height and width, keyed by number of tokens. A latent of 60 x 104 is 480x832
# pixels, 90 x 160 is 720x1280, and 68 x 120 is 544x960.
_LATENTS = {
    1560: (1, 60, 104),
    3600: (1, 90, 160),
    7800: (5, 60, 104),
    10800: (3, 90, 160),
    21600: (6, 90, 160),
    24480: (12, 68, 120),
    32760: (21, 60, 104),
}
_STOCK = "stock"
_LOSS_SCALE = 2.0**16
# torch has no public name for dividing many tensors at once.
_TORCH: Any = torch


def main(arguments: Sequence[str]) -> int:
    """Measure every requested family and number of tokens."""
    options = _parser().parse_args(arguments)
    _say(gpu=torch.cuda.get_device_name(), torch=torch.__version__)
    for name in options.families.split(","):
        bench = Bench(FAMILIES[name], options)
        for tokens in map(int, options.tokens.split(",")):
            for line in bench.measure(tokens, options.modes.split(",")):
                _say(family=name, tokens=tokens, **line)
        del bench
        _free()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--tokens", default=",".join(map(str, _LATENTS)))
    parser.add_argument("--modes", default="16bit,fp8")
    parser.add_argument("--layers", type=int, default=_LAYERS)
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds; 0 checks only")
    parser.add_argument(
        "--memory", type=float, default=0.0, help="plan for a GPU with this many GiB"
    )
    parser.add_argument("--kept", default="", choices=["", "attention", "ffn", "everything"])
    parser.add_argument("--attention", default="", choices=["", "torch", "flash4"])
    parser.add_argument("--unchecked", action="store_true")
    parser.add_argument("--steps", type=int, default=0, help="train this many steps in each mode")
    parser.add_argument("--details", action="store_true", help="print each adapter's distances")
    parser.add_argument("--profile", action="store_true")
    return parser


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201 - the output of a program


@dataclass
class Way:
    """One way to compute steps, and the seconds that each timed step took."""

    fast: FastModel | None
    memory: StepMemory | None = None
    seconds: list[float] = field(default_factory=list[float])
    peak: int = 0


class Bench:
    """One model with random weights and adapters on the GPU."""

    def __init__(self, family: Family, options: argparse.Namespace, device: str = "cuda") -> None:
        self._family, self.options, self._device = family, options, device
        torch.manual_seed(0)
        self._model = model_of(family, options.layers, device)
        self.network = network_of(self._model, device)
        # For models in fp16, whose range is small, musubi-tuner scales the loss.
        self._scale = _LOSS_SCALE if family.dtype == torch.float16 else 1.0
        # As in musubi-tuner's default optimizer, one kernel updates many weights.
        is_fused = torch.cuda.is_available()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-5, fused=is_fused)
        self._copies: FastModel | None = None

    def measure(self, tokens: int, modes: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Check one block in each mode, then time musubi-tuner's own step and each mode's step."""
        batch = self.batch(_LATENTS[tokens])
        ways: dict[str, Way] = {_STOCK: Way(None)}
        for mode in modes:
            way = self._way(tokens, mode)
            if way.memory is None or way.memory.plan is None:
                yield {"mode": mode, "refused": "too little memory"}
                continue
            if not self.options.unchecked:
                yield {"mode": mode, **self._checked(way, batch)}
            ways[mode] = way
        if self.options.rounds:
            yield from self._timed(ways, batch)
        if self.options.steps:
            yield from learn(self, ways, batch)

    def _timed(self, ways: dict[str, Way], batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for mode, way in ways.items():
            if way.fast is not None:
                firsts = [round(self.step(way, batch), 2) for _ in range(2)]
                yield {"mode": mode, "first_steps_s": firsts}
            elif self.options.unchecked:
                self.step(way, batch)  # warm up, as the check would have done
        for _ in range(self.options.rounds):
            for way in ways.values():
                torch.cuda.reset_peak_memory_stats()
                way.seconds.append(self.step(way, batch))
                way.peak = torch.cuda.max_memory_allocated()
        usual = statistics.median(ways[_STOCK].seconds)
        for mode, way in ways.items():
            its = statistics.median(way.seconds)
            yield {
                "mode": mode,
                "step_s": [round(second, 3) for second in way.seconds],
                **({} if mode == _STOCK else {"ratio": round(its / usual, 3)}),
                "useful_tflops": round(useful_flops(self._model, batch["seq_len"]) / its / 1e12),
                "peak_gib": round(way.peak / GIB, 1),
                **self._details_of(way, batch),
            }

    def _details_of(self, way: Way, batch: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if way.memory is not None:
            kept = way.memory.kept_by_a_block
            found["plan"] = self.options.kept or str(way.memory.plan)
            found["block_gib"] = {each: round(taken / GIB, 3) for each, taken in kept.items()}
        if self.options.profile:
            found["kernels_ms"] = self._kernels(way, batch)
        return found

    def _kernels(self, way: Way, batch: dict[str, Any]) -> dict[str, float]:
        """Return the time in ms of all kernels in one step, and of those that take longest."""
        activities = [torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            self.step(way, batch)
        events: list[Any] = list(profile.key_averages())
        found = [(event.self_device_time_total / 1e3, str(event.key)) for event in events]
        found.append((sum(ms for ms, _ in found), "all"))
        return {key[:90]: round(ms, 1) for ms, key in sorted(found, reverse=True)[:_KERNELS]}

    def _way(self, tokens: int, mode: str) -> Way:
        self._make_copies(Way(None))
        _free()
        model, total = self._model, int(self.options.memory * GIB) or None
        fast = FastModel(model, lambda index: kept(index), is_fp8=mode == "fp8")
        memory = StepMemory(
            StepSizes(
                tokens=tokens,
                width=model.dim,
                ffn_width=model.ffn_dim,
                blocks=len(model.blocks),
                attentions=3 if hasattr(model.blocks[0].cross_attn, "k_img") else 2,
                is_fp8=mode == "fp8",
                weights_bytes=fast.bytes_of_copies(self._family.dtype),
            ),
            GpuMemory(torch.device(self._device), total),
        )
        only: Kept | None = self.options.kept or None

        def kept(index: int) -> Kept:
            if only is not None or memory.plan is None:
                return only or "attention"
            return memory.plan.kept(index)

        fast.quantize()
        heads = (1, tokens, model.num_heads, model.dim // model.num_heads)
        fast.kernel = self.options.attention
        if not fast.kernel:
            choice = fastest(heads, self._family.dtype)
            fast.kernel = choice.kernel
            _say(mode=mode, tokens=tokens, attention=str(choice))
        memory.begin(is_checked=not self.options.unchecked)
        return Way(fast, memory)

    def batch(self, latent: tuple[int, int, int]) -> dict[str, Any]:
        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, device=self._device, dtype=torch.float32)

        model, is_i2v = self._model, self._family.kind == "i2v"
        return {
            "x": random(1, 16, *latent),
            "target": random(1, 16, *latent),
            "t": torch.tensor([500.0], device=self._device),
            "context": [random(120, model.text_dim).requires_grad_(True)],
            "seq_len": latent[0] * latent[1] * latent[2] // 4,
            "clip_fea": random(1, 257, 1280) if is_i2v and self._family.version == "2.1" else None,
            "y": random(1, 20, *latent) if is_i2v else None,
        }

    def _loss(self, batch: dict[str, Any]) -> Tensor:
        given = {name: value for name, value in batch.items() if name != "target"}
        given["x"] = batch["x"].detach().requires_grad_(True)
        with torch.autocast(self._device, dtype=self._family.dtype):
            found = self._model(**given)
        output: Tensor = torch.stack(found).float()
        return (output - batch["target"]).square().mean()

    def step(self, way: Way, batch: dict[str, Any]) -> float:
        """Take one step; return how many seconds it took."""
        self._make_copies(way)
        torch.cuda.synchronize()
        started = time.monotonic()
        self.learn(way, batch)
        torch.cuda.synchronize()
        return time.monotonic() - started

    def _make_copies(self, way: Way) -> None:
        """Make the 16-bit copies of the weights that the plan of `way` needs; drop all others."""
        if self._copies is not None and self._copies is not way.fast:
            self._copies.widen(None)
        self._copies = way.fast
        if way.fast is not None and way.memory is not None:
            make_copies(way.fast, way.memory, self._family.dtype)

    def learn(self, way: Way, batch: dict[str, Any]) -> Tensor:
        """Take one step; return its loss."""
        self._make_copies(way)
        with (
            nullcontext()
            if way.fast is None
            else attached(way.fast, way.memory, self._family.dtype)
        ):
            loss = self._loss(batch)
            (loss * self._scale).backward()
        if self._scale > 1:
            gradients = [w.grad for w in self.network.parameters() if w.grad is not None]
            _TORCH._foreach_div_(gradients, self._scale)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _checked(self, way: Way, batch: dict[str, Any]) -> dict[str, Any]:
        index, fast = len(self._model.blocks) // 2, way.fast
        if fast is None:
            return {}
        started = time.monotonic()
        self._make_copies(way)
        call = self._call_of(index, batch)
        with torch.autocast(self._device, dtype=self._family.dtype):
            verdict = check(fast, index, call)
            spoiled = check(fast, index, call, spoil=0.05)
        found: dict[str, Any] = {
            "check": str(verdict),
            "fast_distances": str(verdict.fast),
            "allowed_by": f"{verdict.times:g} times {verdict.stock}",
            "is_equal": verdict.is_equal,
            "planted_error_found": not spoiled.is_equal,
            "check_s": round(time.monotonic() - started, 1),
        }
        return {**found, **_details(verdict)} if self.options.details else found

    def _call_of(self, index: int, batch: dict[str, Any]) -> BlockCall:
        """Return the arguments that musubi-tuner passes to one of its blocks."""
        block, calls = self._model.blocks[index], list[BlockCall]()

        def record(*given: Any, **named: Any) -> Tensor:
            calls.append(BlockCall(*given, **named))
            output: Tensor = type(block).forward(block, *given, **named)
            return output

        block.forward = record
        # As in `FastModel`, embed the time once for all tokens. This does not change the results of
        # musubi-tuner's block.
        self._model.set_time_embedding_v2_1(True)
        try:
            with torch.no_grad():
                self._loss(batch)
        finally:
            del block.forward
            self._model.set_time_embedding_v2_1(False)
        return calls[0]


def useful_flops(model: Any, tokens: int) -> int:
    """Return the number of operations that one step needs if nothing is recomputed.

    The forward pass and the gradients with respect to its inputs are counted. The adapters and the
    layers outside the blocks, which would add less than 2%, are not.
    """
    width, text = model.dim, model.text_len
    # Self-attention has four layers; cross-attention has two on tokens and two on the text.
    products = 2 * width * (tokens * (6 * width + 2 * model.ffn_dim) + text * 2 * width)
    attention = 4 * tokens * (tokens + text) * width
    # For products, the backward pass costs as much as the forward pass; for attention, 2.5 times
    # as much.
    return int(len(model.blocks) * (2 * products + 3.5 * attention))


def _details(verdict: Verdict) -> dict[str, Any]:
    pairs = zip(verdict.fast.adapters, verdict.stock.adapters, strict=True)
    return {
        name: [float(f"{far:.3g}") for far in pair]
        for name, pair in zip(verdict.names, pairs, strict=True)
    }


@contextmanager
def attached(
    fast: FastModel, memory: StepMemory | None = None, dtype: torch.dtype = torch.bfloat16
) -> Generator[None]:
    """Make the blocks run compiled inside this context; after the first step, correct the plan."""
    fast.attach(None if memory is None else partial(run_block, fast, memory))
    if memory is not None and not memory.is_settled:
        fast.widen(None)
        memory.begin(is_checked=False)
        make_copies(fast, memory, dtype)
        memory.gpu.reset_peak()
    try:
        yield
    finally:
        fast.detach()
    if memory is not None:
        memory.end()


def make_copies(fast: FastModel, memory: StepMemory, dtype: torch.dtype) -> None:
    """Make or drop the copies of the weights, as the plan says."""
    fast.widen(dtype if memory.plan is not None and memory.plan.is_wide else None)


def _free() -> None:
    gc.collect()
    torch.cuda.empty_cache()
