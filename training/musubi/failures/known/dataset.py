"""Failures that are caused by the dataset or its caches."""

from training.musubi.failures.known.entry import CACHES, DATASET, KnownFailure, outside

DATASET_FAILURES = (
    KnownFailure(
        "caches-without-first-frame",
        r"KeyError: 'latents_image'|to have 36 channels, but got 16",
        "The caches are for text to video and lack the first frames that this model needs.",
        CACHES,
        relief="caches",
    ),
    KnownFailure(
        "caches-without-clip",
        r"KeyError: 'clip'",
        "The caches lack the CLIP embeddings that this model needs.",
        CACHES,
        relief="caches",
    ),
    KnownFailure(
        "caches-without-text",
        r"KeyError: '(t5|varlen_t5\w*)'",
        "The caches lack the encoded captions.",
        CACHES,
        relief="caches",
    ),
    KnownFailure(
        "caches-of-images",
        r"not enough values to unpack \(expected 2, got 1\)",
        "A cache folder for clips holds caches of images.",
        CACHES,
        relief="caches",
        within=r"prepare_for_training|image_video_dataset|frame_pos",
    ),
    KnownFailure(
        "caches-of-other-vae",
        r"AssertionError: architecture mismatch"
        r"|\((16|48)\) must match the size of tensor b \((16|48)\)"
        r"|to have (16|48) channels, but got (16|48)",
        "The caches were made with another model's VAE: Wan 2.2 5B has its own.",
        CACHES,
        relief="caches",
    ),
    KnownFailure(
        "cache-missing",
        r"(FileNotFoundError|No such file or directory).*_wan(_te)?\.safetensors",
        "A cache file was deleted while the trainer ran.",
        CACHES,
        relief="caches",
    ),
    KnownFailure(
        "mixed-sizes",
        r"stack expects each tensor to be equal size",
        "One batch contained items of different sizes, because buckets are off or the cache folder "
        "also has caches made with other settings.",
        "Turn buckets on (enable_bucket) or use a batch size of 1, and rebuild the caches.",
        relief="caches",
    ),
    KnownFailure(
        "clip-too-small",
        r"Image or video size too small"
        r"|Latent size\(last 3 dimensions\) should be divisible"
        r"|Kernel size can't be greater than actual input size",
        "An image or clip is too small for the model: {line}",
        DATASET,
        resumable=False,
    ),
    KnownFailure(
        "sizes-differ",
        r"size of tensor a \(\d+\) must match|Sizes of tensors must match|The expanded size of the"
        r"|shape '\[[^\]]*\]' is invalid for input of size|shapes cannot be multiplied"
        r"|Given groups=\d+, weight of size|could not be broadcast|[Ss]hape mismatch"
        r"|Expected \dD .{0,30}input|split_with_sizes expects|rearrange-reduction",
        "Sizes inside the model differ ({line}): the caches were probably made for another base "
        "model.",
        "Rebuild the caches of this dataset and check that the run uses the right base model.",
        relief="caches",
        # In these places, sizes do not depend on the caches.
        within=outside(
            r"optim|muon|bitsandbytes|lycoris|tokeni[sz]|[/\\]u?m?t5|[/\\]transformers[/\\]"
            r"|[/\\](xlm_roberta|clip|vae)[^/\\]*\.py|save|convert|merge"
        ),
    ),
    KnownFailure(
        "nothing-to-train-on",
        r"No training items found in the dataset|but got num_samples=0",
        "The trainer found nothing to train on: caches or captions are missing, or clips are too "
        "short.",
        "Check the captions and the length of the clips, or rebuild the caches.",
        relief="caches",
    ),
    KnownFailure(
        "caption-extension",
        r"FileNotFoundError: \[Errno 2\] No such file or directory: ''",
        "The trainer was not given the extension of caption files.",
        "Set caption_extension in the dataset's configuration. If this program wrote that "
        "file, report this as a bug.",
        resumable=False,
    ),
    KnownFailure(
        "caption-missing",
        r"FileNotFoundError: .*'(?P<file>[^']+\.(txt|caption))'",
        "The caption {file} is missing.",
        DATASET,
        resumable=False,
    ),
    KnownFailure(
        "caption-encoding",
        r"UnicodeDecodeError: '[\w-]+' codec",
        "A caption is not stored as UTF-8: {line}",
        "Store the captions as UTF-8, upload the dataset as a new version and start a run with it.",
        resumable=False,
        within=r"get_caption|caption\w* = |datasources?\.py",
    ),
    KnownFailure(
        "image-too-large",
        r"DecompressionBomb",
        "An image of the dataset has more pixels than the trainer accepts: {line}",
        "Make the image smaller (below 178 million pixels), upload the dataset as a new version "
        "and start a run with it.",
        resumable=False,
    ),
    KnownFailure(
        "damaged-image",
        r"image file is truncated|cannot identify image file|broken data stream|broken PNG"
        r"|UnidentifiedImageError|Truncated File Read|cv2\.error.*(empty\(\)|size\(\) > 0)",
        "An image in the dataset is damaged: {line}",
        DATASET,
        resumable=False,
    ),
    KnownFailure(
        "damaged-clip",
        r"av\.error\.(?!FileNotFound)\w+: .*'(?P<file>[^']+)'",
        "The clip {file} is damaged.",
        DATASET,
        resumable=False,
    ),
    KnownFailure(
        "unreadable-clip",
        r"av\.error\.|moov atom not found|Invalid data found when processing input"
        r"|(IndexError|ValueError): .*",
        "A clip of the dataset cannot be read: {line}",
        DATASET,
        resumable=False,
        within=r"load_video|media_utils|av[/\\](container|video)",
    ),
    KnownFailure(
        "dataset-file",
        r"TomlDecodeError|voluptuous\.error|file not found / |frame_extraction .* not supported"
        r"|cache directory should be unique|cache_directory is required|dataset_config is required"
        r"|(image|video)_directory or (image|video)_jsonl_file must be specified"
        r"|has no attribute 'datasource'|not supported config file format",
        "The trainer rejected the dataset's configuration file: {line}",
        "Correct the file. If this program wrote it, report this as a bug, with the run's log.",
        resumable=False,
    ),
    KnownFailure(
        "dataset-list",
        r"JSONDecodeError|KeyError: '(caption|video_path|image_path)'|UnicodeDecodeError",
        "The list of the dataset's files (JSONL) cannot be read: {line}",
        "Write one JSON object per line, with the file's path and a caption, and store the list "
        "as UTF-8.",
        resumable=False,
        within=r"jsonl",
    ),
    KnownFailure(
        "text-encoding",
        r"UnicodeDecodeError: 'utf-?8' codec",
        "A text file, probably a caption, is not stored as UTF-8: {line}",
        "Store the captions as UTF-8, upload the dataset as a new version and start a run with it.",
        resumable=False,
    ),
    KnownFailure(
        "path-missing",
        r"Parent directory (?P<file2>\S+) does not exist"
        r"|(FileNotFoundError|NotADirectoryError|IsADirectoryError|WinError (2|3|123|206|267)\]"
        r"|File name too long|\[Errno 22\] Invalid argument)[^\n]*['\"](?P<file>[^'\"\n]+)['\"]",
        "The file or folder {file} cannot be opened at this path.",
        "Correct the path, or restore the file; then resume the run.",
    ),
)
