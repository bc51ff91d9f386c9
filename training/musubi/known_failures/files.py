"""Failures that lie in files: weights, caches, the dataset, a training state."""

from training.musubi.known_failures.entry import KnownFailure

_MODEL_FILE = "Put the model's own file back in its place, then resume the run."
_WEIGHTS = "Have the operator fetch the weights of this model again, then go on with the run."
_DATASET = "Correct the dataset, upload it as a new version and start a run on that."
_CACHES = "Make the caches of this dataset again, then go on with the run."

FILES: tuple[KnownFailure, ...] = (
    KnownFailure(
        "weights-precision",
        r"DiT weights are in (?P<has>\w+), mixed precision must be",
        "The base model's file is in {has}, and the training was started for another precision.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "fp8-file",
        r"DiT weights is already in fp8 format",
        "The base model's file is in 8 bits already and cannot be scaled to 8 bits.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "fp8-scaled-file",
        r"state_dict for WanModel.*(scaled_fp8|\.scale_weight)",
        "The base model's file is one of scaled 8-bit weights, which cannot be trained on.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "weights-of-other-task",
        r"state_dict for WanModel.*size mismatch for patch_embedding\.weight",
        "A text-to-video file was given to an image-to-video training, or the reverse.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "weights-of-other-version",
        r"state_dict for WanModel.*(img_emb|k_img)",
        "A Wan 2.1 image-to-video file was given to a Wan 2.2 training, or the reverse.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "rank-mismatch",
        r"state_dict for LoRANetwork.*size mismatch",
        "The LoRA to start from has another rank than the run.",
        "Start the run with the rank of that LoRA.",
    ),
    KnownFailure(
        "resume-state-missing",
        r"Tried to find (?P<folder>.+) but folder does not exist",
        "The training state {folder} is not there any more.",
        "Start the run again; it goes on from the newest state that is still there.",
        resumable=True,
    ),
    KnownFailure(
        "resume-state-unusable",
        r".",
        "The training state to go on from cannot be loaded: {line}",
        "Move its folder away; the run then goes on from the state before it.",
        resumable=True,
        within=r", in (resume_from_local_or_hf_if_specified|_readable)\n|launcher/randomness\.py",
    ),
    KnownFailure(
        "wrong-weights",
        r"Error\(s\) in loading state_dict for (?P<part>\w+)",
        "A weight file does not hold what was expected in it ({part}).",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "wrong-vae",
        r"Cannot copy out of meta tensor",
        "The VAE's file does not hold the Wan VAE.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "unknown-weights",
        r"Could not find the dtype in the model weights",
        "The base model's file does not hold a Wan model.",
        _MODEL_FILE,
        resumable=True,
    ),
    KnownFailure(
        "damaged-cache",
        r"SafetensorError: Error while deserializing",
        "A cache file is cut off: an interruption left it incomplete.",
        _CACHES,
        resumable=True,
        relief="caches",
        within=r"musubi_tuner/dataset/|_wan(_te)?\.safetensors",
    ),
    KnownFailure(
        "damaged-weights",
        r"shape '\[.*\]' is invalid for input of size|SafetensorError: Error while deserializing"
        r"|PytorchStreamReader failed|invalid load key",
        "A weight file is cut off or damaged, as after an interrupted download.",
        _WEIGHTS,
        resumable=True,
    ),
    KnownFailure(
        "weights-missing",
        r"FileNotFoundError: .*'(?P<file>[^']+\.(safetensors|pth|pt))'",
        "The weight file {file} is missing.",
        _WEIGHTS,
        resumable=True,
    ),
    KnownFailure(
        "caches-without-first-frame",
        r"KeyError: 'latents_image'",
        "The caches were made for text to video and lack the first frames.",
        _CACHES,
        resumable=True,
        relief="caches",
    ),
    KnownFailure(
        "caches-without-clip",
        r"KeyError: 'clip'",
        "The caches were made without CLIP, which this model learns from.",
        _CACHES,
        resumable=True,
        relief="caches",
    ),
    KnownFailure(
        "caches-of-images",
        r"not enough values to unpack \(expected 2, got 1\)",
        "A cache folder of clips holds caches of images.",
        _CACHES,
        resumable=True,
        relief="caches",
    ),
    KnownFailure(
        "nothing-to-train-on",
        r"No training items found in the dataset",
        "The trainer found nothing to train on: no caches, no captions, or clips that are too "
        "short.",
        "Check the dataset's captions and the length of its clips, or make its caches again.",
        resumable=True,
        relief="caches",
    ),
    KnownFailure(
        "caption-missing",
        r"FileNotFoundError: .*'(?P<file>[^']+\.txt)'",
        "The caption {file} is missing.",
        _DATASET,
    ),
    KnownFailure(
        "damaged-image",
        r"image file is truncated|cannot identify image file|broken data stream when reading image",
        "An image of the dataset is damaged: {line}",
        _DATASET,
    ),
    KnownFailure(
        "damaged-clip",
        r"av\.error\.\w+: .*'(?P<file>[^']+)'",
        "The clip {file} is damaged.",
        _DATASET,
    ),
)
