"""The LoRA that a rehearsal trains, as one flat array with a view for each of musubi's tensors."""

from collections.abc import Mapping

import numpy as np

from training.lora.modules import file_name
from training.rehearsal.model.functions import Values
from training.rehearsal.model.shape import adapter_widths
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import Floats


class Adapter:
    """The LoRA matrices of all modules in one flat vector.

    An optimizer step is then a single array operation.
    """

    def __init__(self, *, clip: bool, rank: int, alpha: float, seed: int) -> None:
        self.rank, self.alpha = rank, alpha
        self._modules = adapter_widths(clip=clip)
        self._shapes = [
            shape
            for inputs, outputs in self._modules.values()
            for shape in ((rank, inputs), (outputs, rank))
        ]
        self._sizes = [rows * columns for rows, columns in self._shapes]
        random = np.random.Generator(np.random.PCG64(seed))
        parts = [
            self._initial(shape, random, is_up=bool(index % 2))
            for index, shape in enumerate(self._shapes)
        ]
        self.parameter = np.concatenate(parts)

    @staticmethod
    def _initial(shape: tuple[int, int], random: np.random.Generator, *, is_up: bool) -> Floats:
        if is_up:
            return np.zeros(shape[0] * shape[1], np.float32)
        # musubi initializes lora_down in this way: torch's kaiming_uniform with a = sqrt(5).
        bound = 1.0 / np.sqrt(shape[1])
        return random.uniform(-bound, bound, shape[0] * shape[1]).astype(np.float32)

    def adapt(self, weights: Mapping[str, Values]) -> dict[str, Values]:
        """Return the weight of each module with its LoRA: base + alpha / rank * up @ down."""
        scale = self.alpha / self.rank
        return {
            module: weights[f"{module}.weight"] + scale * (up @ down)
            for module, (down, up) in self._pairs(self.parameter).items()
        }

    def gradient(self, by_weights: Mapping[str, Values]) -> Floats:
        """Turn gradients of the adapted weights into a gradient of the flat parameter."""
        result = np.empty_like(self.parameter)
        scale = self.alpha / self.rank
        into = self._pairs(result)
        for module, (down, up) in self._pairs(self.parameter).items():
            by_down, by_up = into[module]
            by_down[:] = scale * (up.T @ by_weights[module])
            by_up[:] = scale * (by_weights[module] @ down.T)
        return result

    def _pairs(self, vector: Floats) -> dict[str, tuple[Floats, Floats]]:
        """Return each module's down [r, in] and up [out, r] matrices as views into `vector`."""
        ends = np.cumsum(self._sizes)[:-1]
        parts = [
            piece.reshape(shape)
            for piece, shape in zip(np.split(vector, ends), self._shapes, strict=True)
        ]
        return dict(zip(self._modules, zip(parts[::2], parts[1::2], strict=True), strict=True))

    def rates(self, up_ratio: float) -> Floats:
        """Return each value's learning-rate factor: `up_ratio` in lora_up matrices, else 1."""
        ratios = [up_ratio if index % 2 else 1.0 for index in range(len(self._sizes))]
        return np.repeat(np.array(ratios, np.float32), self._sizes)

    def is_unchanged(self) -> bool:
        """Return whether all lora_up matrices are still zero."""
        return not any(up.any() for _, up in self._pairs(self.parameter).values())

    def tensors(self) -> dict[str, Floats]:
        """Return the adapter's tensors under musubi's names."""
        named: dict[str, Floats] = {}
        for module, (down, up) in self._pairs(self.parameter).items():
            name = file_name(module)
            named[f"{name}.lora_down.weight"] = down
            named[f"{name}.lora_up.weight"] = up
            named[f"{name}.alpha"] = np.array(self.alpha, np.float32)
        return named

    def load(self, tensors: Mapping[str, Floats]) -> tuple[list[str], list[str]]:
        """Load tensors by their names in musubi's files; return the missing and the unknown names.

        Raises:
            MusubiError: A tensor has the wrong shape, for example because the rank differs.
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
                "Use the rank of the adapter file.",
            )
        for name, value in own.items():
            if name in tensors and not name.endswith(".alpha"):
                value[:] = tensors[name]
        missing = [name for name in own if name not in tensors]
        return missing, [name for name in tensors if name not in own]
