"""Runs `FastSession` on tiny models beside musubi-tuner's own steps; runs in its environment.

Prints one JSON object. Where memory runs out or a block is wrong, that is planted.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
# Faults are planted inside the parts that it tests.
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportCallIssue=false

import json
import types
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import compare_blocks  # beside this script
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from training.musubi.launcher.fast import attention, check, graph, products
from training.musubi.launcher.fast import model as models
from training.musubi.launcher.fast.session import FastSession, SessionHooks

Step = list[Tensor]
TOLD: list[str] = []
SAVED: list[int] = []


def loss_of(model: Any, frames: int = 3) -> Callable[[], tuple[Tensor, None]]:
    torch.manual_seed(1)
    # Inputs need gradients, as musubi-tuner makes them for its checkpoints.
    x = torch.randn(16, frames, 8, 12, requires_grad=True)
    text = torch.randn(16, 48)

    def loss() -> tuple[Tensor, None]:
        noise = torch.randn(16, frames, 8, 12)
        output = model([x + noise], t=torch.tensor([500.0]), context=[text], seq_len=frames * 24)
        return output[0].square().mean(), None

    return loss


def steps(session: FastSession | None, model: Any, network: Any, count: int = 2) -> list[Step]:
    """Return the loss and the gradients of each step."""
    compute, found = loss_of(model), list[Step]()
    for seed in range(count):
        torch.manual_seed(seed)
        network.zero_grad()
        if session is None:
            value, _ = compute()
            value.backward()
        else:
            value, _ = session.compute(compute)
            session.differentiate(lambda loss: loss.backward(), network, value)
        found.append([value.detach(), *(weight.grad.clone() for weight in network.parameters())])
    return found


def hooks(previous: str | None = None) -> SessionHooks:
    return SessionHooks(
        pause_saving=nullcontext,
        on_refused=TOLD.append,
        on_compiled=lambda: SAVED.append(1),
        previous=previous,
    )


def farthest(found: list[Step], expected: list[Step]) -> float:
    pairs = [pair for a, b in zip(found, expected, strict=True) for pair in zip(a, b, strict=True)]
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs)


def told_of(spoil: Callable[[Any, FastSession], None], *, asleep: bool = False) -> dict[str, Any]:
    """Return what two steps of a session tell, and how far they are from musubi-tuner's own."""
    TOLD.clear()
    SAVED.clear()
    model, network = compare_blocks.model_of("2.2", "t2v")
    for adapter in network.unet_loras if asleep else ():
        torch.nn.init.zeros_(adapter.lora_up.weight)
    expected = steps(None, model, network)
    random_state = torch.get_rng_state()
    session = FastSession("16bit", model, hooks())
    run = models.FastModel.run
    try:
        session.start()
        spoil(model, session)
        found = steps(session, model, network)
    finally:
        models.FastModel.run = run
    plans = [str(size.memory.plan) for size in session._sizes.values()]
    return {
        "farthest": farthest(found, expected),
        "random": bool(torch.equal(random_state, torch.get_rng_state())),
        "told": list(TOLD),
        "record": session.record,
        "plan": plans[0] if plans else "",
        "saved": len(SAVED),
        "embeds_once": model.force_v2_1_time_embedding,
        "asleep": not any(bool(a.lora_up.weight.any()) for a in network.unet_loras),
    }


def wrong(model: Any, _session: FastSession) -> None:
    """Plant an error of 5 % into the second block."""
    run = models.FastModel.run

    def spoilt(self: Any, kept: Any, block: Any, call: Any, x: Tensor) -> Tensor:
        y = run(self, kept, block, call, x)
        return y if block is model.blocks[0] else x + (y - x) * 1.05

    models.FastModel.run = spoilt


def broken(_model: Any, _session: FastSession) -> None:
    def failing(*_given: Any) -> Tensor:
        raise RuntimeError("no compiler\nfound")

    models.FastModel.run = failing


def full(times: int) -> Callable[[Any, FastSession], None]:
    """Let memory run out in forward passes as often as that, but not in checks."""

    def plant(model: Any, _session: FastSession) -> None:
        run, left = models.FastModel.run, [times]

        def failing(self: Any, kept: Any, block: Any, call: Any, x: Tensor) -> Tensor:
            is_step = x is call.x and block is model.blocks[1]
            if is_step and left[0] > 0:
                left[0] -= 1
                raise torch.OutOfMemoryError("out of memory")
            return run(self, kept, block, call, x)

        models.FastModel.run = failing

    return plant


def full_backward(_model: Any, session: FastSession) -> None:
    """Let memory run out after the first backward pass has left gradients behind."""
    differentiate, left = session.differentiate, [1]

    def failing(backward: Callable[[Tensor], None], network: Any, given: Tensor) -> None:
        def run(loss: Tensor) -> None:
            backward(loss)
            if left[0] > 0:
                left[0] -= 1
                raise torch.OutOfMemoryError("out of memory")

        differentiate(run, network, given)

    session.differentiate = failing


class Kernels(types.ModuleType):
    """flash-attn-4's functions as this project calls them, in plain torch."""

    def _flash_attn_fwd(self, q: Tensor, k: Tensor, v: Tensor, *, return_lse: bool) -> Any:
        assert return_lse
        weights = self._scores(q, k)
        y = torch.einsum("bnqk,bknc->bqnc", weights.softmax(-1), v)
        return y.contiguous(), weights.logsumexp(-1), None, None, None

    def _flash_attn_bwd(
        self, q: Tensor, k: Tensor, v: Tensor, y: Tensor, gradient: Tensor, sums: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        p = (self._scores(q, k) - sums.unsqueeze(-1)).exp()
        dv = torch.einsum("bnqk,bqnc->bknc", p, gradient)
        ds = torch.einsum("bqnc,bknc->bnqk", gradient, v)
        ds = p * (ds - (gradient * y).sum(-1).transpose(1, 2).unsqueeze(-1)) * q.shape[-1] ** -0.5
        dq, dk = torch.einsum("bnqk,bknc->bqnc", ds, k), torch.einsum("bnqk,bqnc->bknc", ds, q)
        return dq.contiguous(), dk.contiguous(), dv.contiguous()

    @staticmethod
    def _scores(q: Tensor, k: Tensor) -> Tensor:
        return torch.einsum("bqnc,bknc->bnqk", q, k) * q.shape[-1] ** -0.5


def flash4() -> dict[str, Any]:
    """Return how far a step with the other kernel is, and how often its graphs attend with it."""
    attention._interface = lambda: Kernels("flash_attn")
    model, network = compare_blocks.model_of("2.1", "t2v")
    expected = steps(None, model, network, count=1)
    fast = models.FastModel(model, lambda _: "attention", kernel="flash4")
    fast.attach()
    far = farthest(steps(None, model, network, count=1), expected)
    counts = [
        [
            sum(f"lorabot.{name}." in each for each in names)
            for name in ("flash4", "flash4_backward")
        ]
        for names in compare_blocks.GRAPHS
    ]
    return {"farthest": far, "counts": counts}


def dynamic() -> dict[str, Any]:
    """Return how many graphs three numbers of tokens need when they share one."""
    compare_blocks.GRAPHS.clear()
    model, network = compare_blocks.model_of("2.1", "t2v")
    fast = models.FastModel(model, lambda _: "attention", is_dynamic=True)
    fast.attach()
    for frames in (2, 3, 5):
        network.zero_grad()
        loss_of(model, frames)()[0].backward()
    return {"graphs": len(compare_blocks.GRAPHS)}


def cast_weights() -> None:
    """Make torch cast weights to the type of their input, as autocast does on a GPU."""
    linear, norm = torch.nn.functional.linear, torch.nn.functional.layer_norm
    torch.nn.functional.linear = lambda x, weight, bias=None: linear(
        x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    )
    torch.nn.functional.layer_norm = lambda x, shape, weight=None, bias=None, eps=1e-5: norm(
        x, shape, *(None if p is None else p.to(x.dtype) for p in (weight, bias)), eps
    )


def fp8() -> dict[str, Any]:
    """Return the verdicts on a block with fp8 products, without and with a planted error."""
    products._FEWEST_TOKENS = 16
    products._scaled = scaled
    model, _ = compare_blocks.model_of("2.1", "t2v")
    block = model.blocks[0]
    for name, weight in block.named_parameters():
        if name.endswith("weight") and "norm" not in name and "lora" not in name:
            # As large as Wan's own, where plain fp8 has only a few numbers.
            weight.data = torch.randn(weight.shape).mul(0.014).to(products.FP8)
    call = first_call(model)
    fast = models.FastModel(model, lambda _: "attention", is_fp8=True)
    verdicts = [check.check(fast, 0, call, spoil=spoil) for spoil in (0.0, 0.3)]
    return {"shares": [verdict.share for verdict in verdicts], "times": verdicts[0].times}


def first_call(model: Any) -> models.BlockCall:
    """Return the arguments of the first block."""
    calls: list[models.BlockCall] = []
    block = model.blocks[0]
    block.forward = lambda *given, **named: calls.append(models.BlockCall(*given, **named))
    with suppress(AttributeError):  # the next block gets no tokens
        loss_of(model)()
    del block.forward
    return calls[0]


def wide() -> dict[str, Any]:
    """Return what a session with narrow weights tells, and whether copies of them go in the end."""
    TOLD.clear()
    model, network = compare_blocks.model_of("2.2", "t2v")
    for name, weight in model.blocks.named_parameters():
        if name.endswith("weight") and "norm" not in name:
            weight.data = weight.data.bfloat16()
    expected = steps(None, model, network)
    session = FastSession("16bit", model, hooks())
    session.start()
    far = farthest(steps(session, model, network), expected)
    sizes = next(iter(session._sizes.values())).memory
    copies = len(session._fast._copies)
    session.refuse("enough")
    left = len(session._fast._copies)
    return {"farthest": far, "told": TOLD[:-1], "plan": str(sizes.plan), "copies": [copies, left]}


def verdicts_on_trained_adapters() -> list[float]:
    """Return the shares of one block with new adapters, and with adapters of equal ranks."""
    model, network = compare_blocks.model_of("2.1", "t2v")
    call, fast = first_call(model), models.FastModel(model, lambda _: "attention")
    shares: list[float] = []
    for value in (0.0, 1e-4):
        for adapter in network.unet_loras:
            torch.nn.init.constant_(adapter.lora_up.weight, value)
        shares.append(check.check(fast, 0, call).share)
        if any(bool((a.lora_up.weight != value).any()) for a in network.unet_loras):
            raise ValueError("the check changed an adapter")
    return shares


def scaled(x: Tensor, matrix: Tensor, columns: Tensor) -> Tensor:
    """Return what the GPU's product of fp8 matrices would."""
    rows, scales = products.quantized(x.flatten(0, -2))
    y = (rows.float() @ matrix.float()) * scales * columns.unsqueeze(0)
    return y.to(x.dtype).unflatten(0, x.shape[:-1])


def main() -> None:
    torch.set_num_threads(1)
    compare_blocks.wan.flash_attention = compare_blocks.attend
    attention.HALF = (*attention.HALF, torch.float32)
    compiling = torch.compile
    torch.compile = lambda function, **_named: function
    found: dict[str, Any] = {
        "plain": told_of(lambda *_: None),
        "asleep": told_of(lambda *_: None, asleep=True),
        "wrong": told_of(wrong),
        "broken": told_of(broken),
        "full once": told_of(full(1)),
        "full always": told_of(full(100)),
        "full backward": told_of(full_backward),
        "fp8 session": fp8_session(),
        "resumed": resumed(),
        "trained": verdicts_on_trained_adapters(),
    }
    graph.compiled.cache_clear()
    backend = aot_autograd(fw_compiler=compare_blocks.record, bw_compiler=compare_blocks.record)
    torch.compile = lambda function, fullgraph, dynamic, **_named: compiling(
        function, fullgraph=fullgraph, dynamic=dynamic, backend=backend
    )
    found |= {"flash4": flash4(), "dynamic": dynamic()}
    graph.compiled.cache_clear()
    torch.compile = lambda function, **_named: function
    cast_weights()
    found |= {"wide": wide(), "fp8": fp8()}
    print(json.dumps(found))  # noqa: T201


def fp8_session() -> list[str]:
    TOLD.clear()
    model, _ = compare_blocks.model_of("2.1", "t2v")
    FastSession("fp8", model, hooks()).start()
    return list(TOLD)


def resumed() -> list[str]:
    TOLD.clear()
    model, _ = compare_blocks.model_of("2.1", "t2v")
    session = FastSession("16bit", model, hooks("off: block 3: its check failed"))
    session.start()
    return [*TOLD, session.record]


if __name__ == "__main__":
    main()
