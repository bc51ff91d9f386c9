"""Where musubi-tuner averages losses and saves training states."""

from argparse import Namespace
from pathlib import Path
from typing import Any


class LossRecorder:
    def __init__(self) -> None:
        self.loss_list: list[float] = []
        self.loss_total = 0.0

    def add(self, *, epoch: int, step: int, loss: float) -> None:
        if epoch == 0:
            self.loss_list.append(loss)
        else:
            self.loss_total -= self.loss_list[step]
            self.loss_list[step] = loss
        self.loss_total += loss


def save_and_remove_state_on_epoch_end(args: Namespace, accelerator: Any, epoch_no: int) -> None:
    accelerator.save_state(str(Path(args.output_dir, f"{args.output_name}-{epoch_no:06d}-state")))


def save_and_remove_state_stepwise(args: Namespace, accelerator: Any, step_no: int) -> None:
    name = f"{args.output_name}-step{step_no:08d}-state"
    accelerator.save_state(str(Path(args.output_dir, name)))


def save_state_on_train_end(args: Namespace, accelerator: Any) -> None:
    accelerator.save_state(str(Path(args.output_dir, f"{args.output_name}-state")))
