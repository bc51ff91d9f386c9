"""A ready-to-run ComfyUI workflow with a run's base model, trained LoRA and speed LoRA.

It uses the nodes of ComfyUI's own Wan templates and each model's published sampling settings
(`sampling.py`). Each expert is one branch: loader, speed LoRA, trained LoRA, shift.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from training.catalogue.models import Model, WeightFile, find_model
from training.comfyui.graph import Graph, Node, Output, Value
from training.comfyui.sampling import SAMPLING, switch_step
from training.pipeline.checkpoint_sets import CheckpointSet, best_set
from training.runs.spec import RunSpec
from training.runs.state import Run
from training.vocabulary import ExpertName

FRAMES, FRAMES_A_SECOND = 81, 16.0
_REPACKAGED = "Comfy-Org/Wan_2.1_ComfyUI_repackaged"
# ComfyUI needs repackaged encoders instead of the .pth files used for training.
_TEXT_ENCODER = WeightFile(
    _REPACKAGED, "split_files/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
)
_IMAGE_ENCODER = WeightFile(_REPACKAGED, "split_files/clip_vision/clip_vision_h.safetensors")
_POSITIVE = "Describe the scene in the style of your captions, including the trigger word."
_NEGATIVE = "static, blurry, overexposed, low quality, compression artifacts, watermark, text"


def workflow(run: Run) -> dict[str, Any] | None:
    """Return the workflow for a run's newest complete checkpoints; None without a checkpoint."""
    chosen = best_set(run)
    return build(run.spec, chosen) if chosen is not None else None


def build(spec: RunSpec, chosen: CheckpointSet) -> dict[str, Any]:
    """Return the workflow that samples with the files of `chosen`."""
    return _Workflow(spec, chosen).build()


class _Workflow:
    def __init__(self, spec: RunSpec, chosen: CheckpointSet) -> None:
        self._spec, self._chosen = spec, chosen
        self._model: Model = find_model(spec.model)
        self._sampling = SAMPLING[self._model.name]
        self._speed_loras = _speed_loras(spec, self._model)
        self._graph = Graph()

    def build(self) -> dict[str, Any]:
        graph = self._graph
        branches: dict[ExpertName, Output] = {
            expert.name: self._branch(expert.name, expert.dit) for expert in self._model.experts
        }
        clip = self._loader("CLIPLoader", "clip_name", _TEXT_ENCODER, {"type": "wan"}).output
        vae = self._loader("VAELoader", "vae_name", self._model.vae).output("VAE")
        prompts = {
            name: graph.add(
                "CLIPTextEncode",
                {"text": text, "clip": clip("CLIP")},
                column=1,
                title=f"{name.capitalize()} prompt",
            ).output("CONDITIONING")
            for name, text in (("positive", _POSITIVE), ("negative", _NEGATIVE))
        }
        start = self._image(prompts, vae) if self._model.i2v else self._empty(prompts)
        latent = self._sample(branches, start)
        images = graph.add("VAEDecode", {"samples": latent, "vae": vae}, column=5)
        video = graph.add(
            "CreateVideo", {"images": images.output("IMAGE"), "fps": FRAMES_A_SECOND}, column=5
        )
        saved: dict[str, Value | Output] = {
            "video": video.output("VIDEO"),
            "filename_prefix": f"video/{self._spec.name}",
            "format": "auto",
            "codec": "auto",
        }
        graph.add("SaveVideo", saved, column=5)
        graph.add("MarkdownNote", {"text": self._note()}, column=-1, title="Where to put the files")
        return graph.to_json()

    def _branch(self, name: ExpertName, dit: WeightFile) -> Output:
        """Return one expert's model with its LoRAs and shift applied."""
        title = "" if name == "main" else f"{name.capitalize()}-noise"
        loader = self._loader("UNETLoader", "unet_name", dit, {"weight_dtype": "default"}, title)
        model = loader.output("MODEL")
        if name in self._speed_loras:
            weight, strength = self._speed_loras[name]
            named = f"{title} Lightning"
            model = self._lora(model, speed_lora_name(weight), strength, named, weight)
        checkpoint = self._chosen.files.get(name)
        if checkpoint is not None:
            file = PurePosixPath(checkpoint.file).name
            model = self._lora(model, file, 1.0, f"{title} trained LoRA".strip())
        given: dict[str, Value | Output] = {"model": model, "shift": self._sampling.shift}
        return self._graph.add("ModelSamplingSD3", given, column=3, title=title).output("MODEL")

    def _lora(
        self,
        model: Output,
        file: str,
        strength: float,
        title: str,
        weight: WeightFile | None = None,
    ) -> Output:
        given: dict[str, Value | Output] = {
            "model": model,
            "lora_name": file,
            "strength_model": strength,
        }
        download = ("loras", _url(weight)) if weight is not None else None
        node = self._graph.add(
            "LoraLoaderModelOnly", given, column=2, title=title, download=download
        )
        return node.output("MODEL")

    def _loader(
        self,
        type_: str,
        name: str,
        weight: WeightFile,
        more: Mapping[str, Value] | None = None,
        title: str = "",
    ) -> Node:
        """Add a node that loads a file, with its download URL."""
        path = PurePosixPath(weight.file)
        given: dict[str, Value | Output] = {name: path.name, **(more or {})}
        download = (path.parent.name, _url(weight))
        return self._graph.add(type_, given, column=0, title=title, download=download)

    def _empty(self, prompts: Mapping[str, Output]) -> dict[str, Output]:
        latent = self._graph.add("EmptyHunyuanLatentVideo", self._size(), column=1)
        return {**prompts, "latent_image": latent.output("LATENT")}

    def _image(self, prompts: Mapping[str, Output], vae: Output) -> dict[str, Output]:
        graph = self._graph
        image = graph.add("LoadImage", {"image": "example.png"}, column=0, title="First frame")
        pixels = image.output("IMAGE")
        given: dict[str, Value | Output] = {
            **prompts,
            "vae": vae,
            "start_image": pixels,
            **self._size(),
        }
        if self._model.clip:
            encoder = self._loader("CLIPVisionLoader", "clip_name", _IMAGE_ENCODER)
            seen: dict[str, Value | Output] = {
                "clip_vision": encoder.output("CLIP_VISION"),
                "image": pixels,
                "crop": "none",
            }
            encoded = graph.add("CLIPVisionEncode", seen, column=1)
            given["clip_vision_output"] = encoded.output("CLIP_VISION_OUTPUT")
        node = graph.add("WanImageToVideo", given, column=2)
        names = {"positive": "positive", "negative": "negative", "latent_image": "latent"}
        return {name: node.output(output) for name, output in names.items()}

    def _size(self) -> dict[str, Value | Output]:
        width, height = self._sampling.size
        return {"width": width, "height": height, "length": FRAMES, "batch_size": 1}

    def _sample(self, branches: Mapping[ExpertName, Output], start: Mapping[str, Output]) -> Output:
        sampling = self._sampling
        common: dict[str, Value | Output] = {
            **start,
            "steps": sampling.steps,
            "cfg": sampling.cfg,
            "sampler_name": sampling.sampler,
            "scheduler": "simple",
        }
        if "main" in branches:
            given = {**common, "model": branches["main"], "seed": 42, "denoise": 1.0}
            return self._graph.add("KSampler", given, column=4).output("LATENT")
        timesteps = self._model.expert("high").timesteps or (0, 1000)
        switch = switch_step(sampling, timesteps[0] / 1000)
        high: dict[str, Value | Output] = {
            **common,
            "model": branches["high"],
            "add_noise": "enable",
            "noise_seed": 42,
            "start_at_step": 0,
            "end_at_step": switch,
            "return_with_leftover_noise": "enable",
        }
        first = self._graph.add("KSamplerAdvanced", high, column=4, title="High-noise steps")
        low: dict[str, Value | Output] = {
            **high,
            "model": branches["low"],
            "latent_image": first.output("LATENT"),
            "add_noise": "disable",
            "start_at_step": switch,
            "end_at_step": sampling.steps,
            "return_with_leftover_noise": "disable",
        }
        node = self._graph.add("KSamplerAdvanced", low, column=4, title="Low-noise steps")
        return node.output("LATENT")

    def _note(self) -> str:
        lines = [f"**{self._spec.name}**: {self._model.family}, {self._model.name}.", ""]
        if self._spec.engine == "rehearsal":
            lines += ["**This was a rehearsal: its LoRA has no effect in ComfyUI.**", ""]
        lines.append("ComfyUI/models/loras/:")
        for file in self._chosen.files.values():
            lines.append(f"- {PurePosixPath(file.file).name} (epoch {file.epoch})")
        for weight, _strength in self._speed_loras.values():
            lines.append(f"- [{speed_lora_name(weight)}]({_url(weight)}) (save under this name)")
        missing = [e.name for e in self._model.experts if e.name not in self._chosen.files]
        if missing:
            lines += ["", f"This run has no LoRA for the {' and '.join(missing)} expert."]
        lines += ["", "Try strengths 0.5, 0.75 and 1.0 for the trained LoRA."]
        return "\n".join(lines)


def speed_lora_name(weight: WeightFile) -> str:
    """Return a file name for a speed LoRA: its path in the repository with `-` instead of `/`.

    The last part of the path is not enough: many speed LoRAs are published under the same name.
    """
    path = PurePosixPath(weight.file)
    return "-".join((*path.parent.parts, path.name))


def _speed_loras(spec: RunSpec, model: Model) -> dict[ExpertName, tuple[WeightFile, float]]:
    """Return each expert's speed LoRA and its strength: the run's, or else the catalogue's."""
    if model.speed_lora is None:
        return {}
    strength = model.speed_lora.strength
    found: dict[ExpertName, tuple[WeightFile, float]] = {
        name: (file, strength) for name, file in model.speed_lora.files.items()
    }
    for expert in spec.experts:
        if expert.speed_lora is not None:
            found[expert.name] = (expert.speed_lora.weight_file, expert.speed_lora.strength)
    return found


def _url(weight: WeightFile) -> str:
    revision, file = quote(weight.revision, safe=""), quote(weight.file)
    return f"https://huggingface.co/{weight.repo}/resolve/{revision}/{file}"
