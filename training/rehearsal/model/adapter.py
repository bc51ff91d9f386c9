"""The trained LoRA: one flat parameter, viewed as musubi's tensors."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from training.lora.modules import file_name
from training.rehearsal.model.shape import adapter_modules, module_widths
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import Floats


class Adapter:
    """Low-rank updates of all adapted modules in one vector, so that a step is one update."""

    def __init__(self, *, clip: bool, rank: int, alpha: float, seed: int) -> None:
        self.rank, self.alpha = rank, alpha
        self._modules = adapter_modules(clip=clip)
        self._shapes = [
            shape
            for inputs, outputs in map(module_widths, self._modules)
            for shape in ((rank, inputs), (outputs, rank))
        ]
        self._sizes = [rows * columns for rows, columns in self._shapes]
        random = np.random.Generator(np.random.PCG64(seed))
        parts = [
            self._initial(shape, random, is_up=bool(index % 2))
            for index, shape in enumerate(self._shapes)
        ]
        self.parameter = torch.from_numpy(np.concatenate(parts)).requires_grad_()

    @staticmethod
    def _initial(shape: tuple[int, int], random: np.random.Generator, *, is_up: bool) -> Floats:
        if is_up:
            return np.zeros(shape[0] * shape[1], np.float32)
        # torch's kaiming_uniform with a = sqrt(5), which musubi uses for lora_down.
        bound = 1.0 / np.sqrt(shape[1])
        return random.uniform(-bound, bound, shape[0] * shape[1]).astype(np.float32)

    def adapt(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the adapted modules' weights: base + alpha / rank * up @ down."""
        parts = self._parts(self.parameter)
        scale = self.alpha / self.rank
        adapted: dict[str, Tensor] = {}
        for index, module in enumerate(self._modules):
            name = f"{module}.weight"
            down, up = parts[2 * index], parts[2 * index + 1]
            adapted[name] = torch.addmm(weights[name], up, down, alpha=scale)
        return adapted

    def _parts(self, vector: Tensor) -> list[Tensor]:
        pieces = torch.split(vector, self._sizes)
        return [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def tensors(self) -> dict[str, Floats]:
        """Return the adapter with the names and shapes of musubi's files."""
        parts = self._parts(self.parameter.detach())
        named: dict[str, Floats] = {}
        for index, module in enumerate(self._modules):
            name = file_name(module)
            named[f"{name}.lora_down.weight"] = parts[2 * index].numpy()
            named[f"{name}.lora_up.weight"] = parts[2 * index + 1].numpy()
            named[f"{name}.alpha"] = np.array(self.alpha, np.float32)
        return named

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Floats]) -> tuple[list[str], list[str]]:
        """Load tensors by name; return the missing and the unexpected names.

        Raises:
            MusubiError: A tensor has another shape, as with another rank.
        """
        own = self.tensors()
        wrong = [
            f"size mismatch for {name}: copying a param with shape "
            f"torch.Size({list(tensors[name].shape)}) from checkpoint, the shape in current "
            f"model is torch.Size({list(value.shape)})."
            for name, value in own.items()
            if name in tensors and tensors[name].shape != value.shape
        ]
        if wrong:
            text = " ".join(wrong)
            raise MusubiError(
                f"RuntimeError: Error(s) in loading state_dict for LoRANetwork: {text}",
                "Use the rank that the adapter was trained with.",
            )
        parts = self._parts(self.parameter)
        for index, module in enumerate(self._modules):
            for part, ending in zip(parts[2 * index :], ("lora_down", "lora_up"), strict=False):
                values = tensors.get(f"{file_name(module)}.{ending}.weight")
                if values is not None:
                    part.copy_(torch.from_numpy(values))
        missing = [name for name in own if name not in tensors]
        return missing, [name for name in tensors if name not in own]
