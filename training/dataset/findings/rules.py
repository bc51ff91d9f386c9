"""Every code a finding can have, with its severity and its words."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.dataset.report import Severity

_PLURAL = {
    "has": "have",
    "is": "are",
    "does": "do",
    "needs": "need",
    "comes": "come",
    "belongs": "belong",
    "contains": "contain",
    "encloses": "enclose",
    "looks": "look",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """The words of one code.

    Attributes:
        is_repaired: `repair` fixes it without asking.
        what: Follows a file name, starting with its verb: `a.mp4` + " has no caption".
        because: A sentence on why it matters; may be empty.
        fix: What the owner can do, or what repair does.
    """

    severity: Severity
    is_repaired: bool
    what: str
    because: str
    fix: str

    @property
    def of_many(self) -> str:
        """What follows a count: "3 of 12 clips" + " have no caption"."""
        verb, _, rest = self.what.partition(" ")
        return f"{_PLURAL.get(verb, verb)} {rest}"


def _error(what: str, because: str, fix: str) -> Rule:
    return Rule("error", False, what, because, fix)


def _warning(what: str, because: str, fix: str) -> Rule:
    return Rule("warning", False, what, because, fix)


def _repaired(what: str, because: str, fix: str, severity: Severity = "info") -> Rule:
    return Rule(severity, True, what, because, fix)


_CAPTIONS = {
    "missing-caption": _error(
        "has no caption",
        "Every image and clip needs one.",
        "Add a .txt file with the same name next to each: 001.txt for 001.mp4.",
    ),
    "empty-caption": _error(
        "has an empty caption file",
        "",
        "Describe what each one shows, including your trigger word.",
    ),
    "unreadable-caption": _error(
        "has a caption file that is not plain text",
        "",
        "Save captions as plain text (UTF-8, .txt), one paragraph each.",
    ),
    "caption-too-long": _warning(
        "has a caption longer than Wan reads",
        "Wan's text encoder reads 512 tokens, about 350 English words, and ignores the rest.",
        "Shorten these captions to what matters, trigger word first.",
    ),
    "caption-encoding": _repaired(
        "has a caption that is not saved as UTF-8",
        "The trainer would fail on it.",
        "Converted. Check that accents and special characters look right.",
        "warning",
    ),
    "caption-name": _repaired(
        "has a caption file with a slightly different name",
        "The trainer would not find it.",
        "Matched automatically.",
    ),
    "captions-all-equal": _warning(
        "has the same caption",
        "The LoRA cannot tell the subject from its background.",
        "Describe in each caption what differs: pose, place, light, clothes.",
    ),
    "trigger-missing": _warning(
        "does not have the trigger word in its caption",
        "The LoRA only learns the trigger from captions that contain it.",
        "Add it to the start of these captions (prefix), or write it in yourself.",
    ),
    "orphan-caption": _warning(
        "belongs to no image or clip",
        "",
        "Add the missing image or clip under the same name, or remove the caption.",
    ),
}

_FILES = {
    "no-samples": _error(
        "in the zip is a usable image or clip",
        "",
        "Add PNG or JPEG images and MP4 clips, each with its .txt caption.",
    ),
    "damaged-in-zip": _error(
        "is damaged inside the zip", "", "Zip the folder again and upload it again."
    ),
    "unsupported-type": _error(
        "has a file type that the trainer cannot read",
        "",
        "Export images as PNG or JPEG and clips as MP4 (H.264), or remove the files.",
    ),
    "nested-archive": _error(
        "needs to be unpacked first",
        "Images and clips in an archive inside the zip are not trained on.",
        "Zip the images, clips and captions themselves, or remove the archive.",
    ),
    "converted-type": _repaired(
        "has a file type that the trainer skips",
        "",
        "Converted: images to PNG without loss, clips to MP4.",
    ),
    "wrong-extension": _repaired(
        "does not match its file extension", "", "Given the right extension."
    ),
    "extension-case": _repaired(
        "has a file extension in mixed case",
        "The trainer silently skips such files.",
        "Changed to lower case.",
    ),
    "same-stem": _repaired(
        "has the same name as another file, apart from the extension",
        "The trainer would give both the same caption and cache.",
        "Renamed.",
        "warning",
    ),
    "renamed": _repaired("has spaces, accents or symbols in its name", "", "Given a plain name."),
    "junk-ignored": _repaired("comes from the operating system", "", "Left out."),
    "nested-folder": _repaired("encloses the whole dataset", "", "Unwrapped automatically."),
    "windows-separators": _repaired(
        "has backslashes between its folders",
        "Many programs unpack this as one long file name.",
        "Put into its folder.",
    ),
    "leftover-cache": _repaired(
        "comes from the cache of an earlier training",
        "The trainer would use it, whatever it contains.",
        "Left out; a new cache is made.",
    ),
    "toml-unused": _repaired(
        "contains settings", "", "Not used; the settings are chosen to fit the dataset."
    ),
    "toml-found": _repaired(
        "contains dataset settings for the trainer",
        "",
        "Not used unless a run sets dataset-config to from-zip.",
    ),
    "other-file": _repaired("is neither image, clip nor caption", "", "Left out."),
    "exact-duplicate": _warning(
        "has the same content as another file",
        "The LoRA memorizes pictures that it sees more often.",
        "Remove the copies.",
    ),
    "near-duplicate": _warning(
        "looks almost like another sample",
        "The LoRA memorizes pictures that it sees more often.",
        "Keep the best one of each, unless the similarity is intended.",
    ),
    "too-few-samples": _warning(
        "is not much to learn from",
        "With so few, the LoRA memorizes the pictures instead of learning the subject.",
        "Use at least 10 images or clips, ideally 20 to 40.",
    ),
}

_IMAGES = {
    "corrupt-image": _error(
        "cannot be decoded", "", "Export the image again, or remove it from the zip."
    ),
    "image-too-large": _error(
        "has too many pixels", "", "Scale it down; training never uses more than 2048 per side."
    ),
    "image-too-small": _error(
        "is too small to train on", "", "Use images of at least 512 pixels on each side."
    ),
    "animated-image": _error(
        "contains several pictures (an animation or pages)",
        "The trainer would only use the first.",
        "Save animations as MP4 clips and single pictures as PNG.",
    ),
    "alpha-channel": _repaired(
        "has transparent areas",
        "The trainer would show what is hidden behind them.",
        "Placed on white. Use a background of your own if that matters.",
        "warning",
    ),
    "opaque-alpha": _repaired(
        "has an unused alpha channel", "", "Removed; the picture is unchanged."
    ),
    "sixteen-bit": _repaired(
        "has 16 bits per channel",
        "The trainer would turn most of it white.",
        "Converted to 8 bits.",
    ),
    "colour-profile": _repaired(
        "has a colour profile other than sRGB",
        "The trainer ignores profiles and would learn wrong colours.",
        "Converted to sRGB.",
    ),
}

_CLIPS = {
    "corrupt-clip": _error(
        "cannot be decoded", "", "Export the clip again, or remove it from the zip."
    ),
    "no-picture": _error(
        "has no video track", "", "Export the clip again, including its video track."
    ),
    "clip-too-large": _error("has too many pixels", "", "Scale it to 1920 x 1080 or 1280 x 720."),
    "clip-too-small": _error(
        "is too small to train on", "", "Use clips of at least 832 x 480 pixels."
    ),
    "clip-too-long": _error("is too long", "", "Cut it into scenes of 2 to 10 seconds."),
    "hdr": _error(
        "is in HDR",
        "Wan is trained on SDR, and how to convert to it is a matter of taste.",
        "Export it as SDR (Rec. 709, sRGB) from your editor, where you can see the result.",
    ),
    "clip-too-short": _warning(
        "is too short to show movement",
        "Training uses 21 frames (1.3 s) and more; a shorter clip is used at its own length.",
        "Use clips of at least 1.4 s, ideally 3 s.",
    ),
    "fps-not-16": _repaired(
        "does not run at 16 frames per second",
        "Wan is trained at 16 fps; the LoRA would learn other clips as slow motion.",
        "Converted to 16 fps; length and speed do not change.",
    ),
    "low-fps": _repaired(
        "has fewer than 16 frames per second",
        "Frames are repeated to keep the speed, and the LoRA may learn that as stutter.",
        "Converted to 16 fps. Use footage with at least 16 fps if you can.",
        "warning",
    ),
    "variable-fps": _repaired(
        "has a variable frame rate",
        "The trainer counts frames, not time, so the speed would vary.",
        "Converted to a constant 16 fps.",
    ),
    "frames-not-4n1": _repaired(
        "has a frame count that Wan cannot use",
        "Wan takes 4N+1 frames: 21, 45, 81.",
        "Trimmed by one to three frames at the end.",
    ),
    "rotated": _repaired(
        "is stored sideways",
        "The trainer ignores the rotation flag and would learn it sideways.",
        "Rotated.",
    ),
    "odd-size": _repaired(
        "has an odd width or height",
        "Video is stored in blocks of two pixels.",
        "Cropped by one row or column.",
    ),
    "non-square-pixels": _repaired(
        "has non-square pixels",
        "The trainer would learn it stretched.",
        "Scaled to square pixels.",
    ),
    "deep-colour": _repaired("has more than 8 bits per colour", "", "Converted to 8 bits."),
    "dropped-alpha": _repaired(
        "has transparency in a form that cannot be read",
        "Whatever lies behind transparent areas shows.",
        "Transparency ignored. If the picture looks wrong, export it on a solid background.",
        "warning",
    ),
    "interlaced": _repaired(
        "is interlaced", "The LoRA would learn comb-like edges.", "Deinterlaced."
    ),
    "audio-dropped": _repaired("has sound", "Wan learns from pictures only.", "Sound removed."),
}

_LOOKS = {
    "low-resolution": _warning(
        "has a low resolution",
        "It is enlarged for training, and the LoRA learns the softness.",
        "Use footage of at least 832 x 480, or 1280 x 720 for a 720p model.",
    ),
    "extreme-aspect": _warning(
        "is much wider or taller than Wan's formats",
        "Training crops what does not fit.",
        "Crop it to 16:9, 4:3, 1:1, 3:4 or 9:16 around the subject.",
    ),
    "blurry": _warning("is blurred", "The LoRA learns the blur.", "Use sharp footage if you can."),
    "static-clip": _warning(
        "does not move",
        "A clip without movement teaches a video model to stand still.",
        "Use it as an image, or choose a clip with movement.",
    ),
    "black-frames": _warning(
        "has black frames",
        "The LoRA learns them as part of the scene.",
        "Cut out fades and black frames.",
    ),
    "black-image": _warning(
        "is black", "There is nothing to learn from it.", "Remove it from the zip."
    ),
    "blank-image": _warning(
        "is a single colour", "There is nothing to learn from it.", "Remove it from the zip."
    ),
    "blank-frames": _warning(
        "has frames of a single colour",
        "The LoRA learns flashes and fades as part of the scene.",
        "Cut out flashes and fades.",
    ),
    "letterboxed": _warning(
        "has black bars", "The LoRA learns the bars.", "Crop the bars and export again."
    ),
    "scene-cut": _warning(
        "has a cut to another scene",
        "The LoRA learns to jump; Wan is trained on single shots.",
        "Split it at the cuts, one clip per shot.",
    ),
}

RULES: Mapping[str, Rule] = MappingProxyType({**_CAPTIONS, **_FILES, **_IMAGES, **_CLIPS, **_LOOKS})
