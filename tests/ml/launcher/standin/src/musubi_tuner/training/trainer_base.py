"""Where musubi-tuner trains: a loop that counts from zero and knows nothing of resuming."""

import math
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file  # type: ignore[reportUnknownVariableType]

from musubi_tuner.dataset.bucket import BucketBatchManager
from musubi_tuner.training.accelerator import Accelerator, Loader, Optimizer, Scheduler
from musubi_tuner.utils import train_utils


def first(examples: list[Any]) -> Any:
    return examples[0]


class Bar:
    def __init__(self, steps: Iterable[int], *, desc: str, initial: int = 0) -> None:
        sys.stdout.write(f"bar of {desc} begins at {initial}\n")


def tqdm(steps: Iterable[int], **named: Any) -> Bar:
    return Bar(steps, **named)


class Layer(torch.nn.Module):
    """Two layers with the names of an adapter's; the second starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_down = torch.nn.Linear(4, 2, bias=False)
        self.lora_up = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.zeros_(self.lora_up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lora_up(self.lora_down(x))


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Layer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)

    def save_weights(self, file: str, dtype: object, metadata: dict[str, str]) -> None:
        save_file(self.state_dict(), file, metadata)


class Transformer(torch.nn.Module):
    """A model whose blocks only musubi-tuner itself can compute."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList()
        self.device = torch.device("cpu")
        self.blocks_to_swap = 1
        self.force_v2_1_time_embedding = False
        self.attn_mode, self.split_attn = "torch", False
        self.activation_cpu_offloading = False
        self.eps, self.window_size = 1e-6, (-1, -1)


class NetworkTrainer:
    def __init__(self, at_step: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
        self.at_step = at_step

    def _validate_args_and_init(self, args: Namespace) -> bool:
        return True

    def resume_from_local_or_hf_if_specified(self, accelerator: Any, args: Namespace) -> bool:
        if not args.resume:
            return False
        accelerator.load_state(args.resume)
        return True

    def train(self, args: Namespace) -> None:
        if not self._validate_args_and_init(args):
            return
        torch.manual_seed(args.seed)
        items = torch.randn(args.items, 1, 1, 2, 4)
        dataset: Any = BucketBatchManager(items)
        loader = Loader(
            torch.utils.data.DataLoader(
                dataset,
                shuffle=True,
                num_workers=args.max_data_loader_n_workers,
                persistent_workers=args.max_data_loader_n_workers > 0,
                collate_fn=first,
            )
        )
        per_epoch = math.ceil(len(loader) / args.gradient_accumulation_steps)
        args.max_train_steps = args.max_train_epochs * per_epoch
        network = Network()
        adam = torch.optim.AdamW(network.parameters(), lr=args.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            adam, lambda step: args.rate_at(step / args.max_train_steps)
        )
        accumulated = args.gradient_accumulation_steps
        accelerator = Accelerator(
            network, Optimizer(adam), [Scheduler(schedule)], loader, accumulated
        )
        self.resume_from_local_or_hf_if_specified(accelerator, args)
        self._run_training_loop(
            *(args, accelerator, 0.0, loader, Transformer(), network),
            *(accelerator.optimizer, schedule),
        )

    def process_batch(
        self, network: Network, batch: dict[str, Any], noise: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        latents = batch["latents"]
        return (network(latents) - latents.sum() + noise).square().mean(), {}

    def _run_training_loop(  # noqa: C901, PLR0913
        self,
        args: Namespace,
        accelerator: Accelerator,
        training_started_at: float,
        train_dataloader: Any,
        transformer: torch.nn.Module,
        network: Network,
        optimizer: Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LambdaLR,
    ) -> None:
        metadata = {"started_at": str(training_started_at)}
        tqdm(range(args.max_train_steps), desc="steps")
        epoch_to_start = 0
        global_step = 0
        recorder = train_utils.LossRecorder()

        def save(name: str) -> None:
            path = Path(args.output_dir, f"{name}.safetensors")
            metadata["steps"] = str(global_step)
            network.save_weights(str(path), None, metadata)

        epochs = args.max_train_epochs
        for epoch in range(epoch_to_start, epochs):
            for step, batch in enumerate(train_dataloader):
                accelerator.begin_batch()
                loss, _ = self.process_batch(network, batch, torch.randn(1))
                loss = self.at_step(global_step + 1, loss)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    optimizer.step()
                    lr_scheduler.step()
                    optimizer.optimizer.zero_grad()
                    global_step += 1
                    every = args.save_every_n_steps
                    if every is not None and global_step % every == 0:
                        save(f"{args.output_name}-step{global_step:08d}")
                        if args.save_state:
                            train_utils.save_and_remove_state_stepwise(
                                args, accelerator, global_step
                            )
                recorder.add(epoch=epoch, step=step, loss=loss.item())
                if global_step >= args.max_train_steps:
                    break
            every = args.save_every_n_epochs
            if every is not None and (epoch + 1) % every == 0 and (epoch + 1) < epochs:
                save(f"{args.output_name}-{epoch + 1:06d}")
                train_utils.save_and_remove_state_on_epoch_end(args, accelerator, epoch + 1)
        train_utils.save_state_on_train_end(args, accelerator)
        save(args.output_name)
