"""Every code a finding can have: how grave it is, and its cause and fix in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.dataset.report import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """The words of one code.

    Attributes:
        one: Follows the name of a single file: `a.mp4` + " has no caption".
        many: Follows a count: "3 of 12 clips" + " have no caption".
        because: Why it matters, in a sentence; may be empty.
        fix: What the owner can do, or what repair does.
    """

    severity: Severity
    is_repaired: bool
    one: str
    many: str
    because: str
    fix: str


def _error(one: str, many: str, because: str, fix: str) -> Rule:
    return Rule("error", False, one, many, because, fix)


def _warning(one: str, many: str, because: str, fix: str) -> Rule:
    return Rule("warning", False, one, many, because, fix)


def _repaired(one: str, many: str, because: str, fix: str, severity: Severity = "info") -> Rule:
    return Rule(severity, True, one, many, because, fix)


def _left_out(one: str, many: str, because: str, fix: str) -> Rule:
    return Rule("info", True, one, many, because, fix)


CAPTIONS: Mapping[str, Rule] = {
    "missing-caption": _error(
        "has no caption",
        "have no caption",
        "Every image and clip needs its text.",
        "Add a .txt file with the same name beside each: 001.txt for 001.mp4.",
    ),
    "empty-caption": _error(
        "has an empty caption file",
        "have an empty caption file",
        "",
        "Write what is to be seen, with your trigger word, into each of these files.",
    ),
    "unreadable-caption": _error(
        "has a caption file that is not a plain text",
        "have caption files that are not plain texts",
        "",
        "Save the captions as plain text files (UTF-8, .txt), a paragraph each.",
    ),
    "caption-too-long": _warning(
        "has a caption longer than Wan reads",
        "have captions longer than Wan reads",
        "Wan's text encoder reads 512 tokens, about 350 English words; the rest is lost.",
        "Shorten these captions to what matters, the trigger word first.",
    ),
    "caption-encoding": _repaired(
        "has a caption that is not saved as UTF-8",
        "have captions that are not saved as UTF-8",
        "The trainer would stop at them.",
        "Converted; please check that accents and special letters look right.",
        "warning",
    ),
    "caption-name": _repaired(
        "has a caption file under a slightly different name",
        "have caption files under slightly different names",
        "The trainer would not find them.",
        "The names are matched; nothing to do.",
    ),
    "captions-all-equal": _warning(
        "",
        "all have the same caption",
        "The LoRA then learns everything in the pictures, backgrounds too, as one thing.",
        "Describe in each caption what differs: pose, place, light, clothes.",
    ),
    "trigger-missing": _warning(
        "does not have the trigger word in its caption",
        "do not have the trigger word in their captions",
        "The LoRA learns to answer to the word only where it stands.",
        "Add the trigger word to these captions.",
    ),
    "orphan-caption": _warning(
        "is a caption without an image or clip",
        "are captions without an image or clip",
        "",
        "Add the missing media under the same name, or remove the text files.",
    ),
}

FILES: Mapping[str, Rule] = {
    "no-samples": _error(
        "",
        "in the zip are images or clips that can be used",
        "",
        "Put PNG or JPEG images and MP4 clips into the zip, each with its .txt caption.",
    ),
    "damaged-in-zip": _error(
        "is damaged inside the zip",
        "are damaged inside the zip",
        "",
        "Zip the folder again and upload it once more.",
    ),
    "unsupported-type": _error(
        "is of a type that the trainer cannot read",
        "are of a type that the trainer cannot read",
        "",
        "Export images as PNG or JPEG and clips as MP4 (H.264), or take the files out.",
    ),
    "converted-type": _repaired(
        "is of a type that the trainer skips",
        "are of a type that the trainer skips",
        "",
        "Converted to PNG without loss.",
    ),
    "wrong-extension": _repaired(
        "holds something else than its extension says",
        "hold something else than their extensions say",
        "",
        "Given the right extension.",
    ),
    "extension-case": _repaired(
        "has an extension in mixed case",
        "have extensions in mixed case",
        "The trainer skips such files silently.",
        "Written in lower case.",
    ),
    "same-stem": _repaired(
        "has the same name as another file but for the extension",
        "have the same names as other files but for the extensions",
        "The trainer would give them one caption and one cache.",
        "Renamed.",
        "warning",
    ),
    "renamed": _repaired(
        "has a name with spaces, accents or signs",
        "have names with spaces, accents or signs",
        "",
        "Given a plain name.",
    ),
    "junk-ignored": _left_out(
        "is a leftover of the operating system",
        "are leftovers of the operating system",
        "",
        "Left out.",
    ),
    "leftover-cache": _left_out(
        "is a cache of an earlier training",
        "are caches of an earlier training",
        "The trainer would train on them whatever they hold.",
        "Left out; caches are made anew.",
    ),
    "toml-unused": _left_out(
        "is a settings file", "are settings files", "", "Not used; settings are made to fit."
    ),
    "other-file": _left_out(
        "is neither image, clip nor caption",
        "are neither images, clips nor captions",
        "",
        "Left out.",
    ),
    "exact-duplicate": _warning(
        "is the same file as another",
        "are the same files as others",
        "Copies make the LoRA memorise that one picture.",
        "Remove the copies.",
    ),
    "near-duplicate": _warning(
        "looks almost like another",
        "look almost like others",
        "Near copies make the LoRA memorise that one picture.",
        "Keep the best of each, unless the likeness is meant.",
    ),
    "too-few-samples": _warning(
        "",
        "are all there is to learn from",
        "A LoRA from so few learns the pictures themselves rather than the subject.",
        "Use at least 10 images or clips, better 20 to 40.",
    ),
}

IMAGES: Mapping[str, Rule] = {
    "corrupt-image": _error(
        "cannot be decoded",
        "cannot be decoded",
        "",
        "Export the image again or take it out of the zip.",
    ),
    "image-too-large": _error(
        "has more pixels than can be handled",
        "have more pixels than can be handled",
        "",
        "Scale it down; a long side of 2048 pixels is more than training uses.",
    ),
    "image-too-small": _error(
        "is too small to train on",
        "are too small to train on",
        "",
        "Use an image with at least 512 pixels on each side.",
    ),
    "animated-image": _error(
        "is an animated image",
        "are animated images",
        "The trainer would use the first frame only.",
        "Save it as an MP4 clip, or as a still PNG.",
    ),
    "alpha-channel": _repaired(
        "has transparent parts",
        "have transparent parts",
        "The trainer would show what is hidden behind them.",
        "Put on white; use your own background if that matters.",
        "warning",
    ),
    "opaque-alpha": _repaired(
        "has an alpha channel without use",
        "have an alpha channel without use",
        "",
        "Removed; the picture is unchanged.",
    ),
    "colour-profile": _repaired(
        "has a colour profile other than sRGB",
        "have colour profiles other than sRGB",
        "The trainer ignores profiles and would learn wrong colours.",
        "Converted to sRGB.",
    ),
}

CLIPS: Mapping[str, Rule] = {
    "corrupt-clip": _error(
        "cannot be decoded",
        "cannot be decoded",
        "",
        "Export the clip again or take it out of the zip.",
    ),
    "no-picture": _error(
        "has no picture, only sound or nothing",
        "have no picture, only sound or nothing",
        "",
        "Export the clip again, with its video track.",
    ),
    "clip-too-large": _error(
        "has more pixels than can be handled",
        "have more pixels than can be handled",
        "",
        "Scale it to 1920 x 1080 or 1280 x 720.",
    ),
    "clip-too-small": _error(
        "is too small to train on",
        "are too small to train on",
        "",
        "Use clips of at least 832 x 480 pixels.",
    ),
    "clip-too-long": _error(
        "is too long", "are too long", "", "Cut it into scenes of 2 to 10 seconds."
    ),
    "hdr": _error(
        "is an HDR clip",
        "are HDR clips",
        "Wan is trained on SDR; how to bring HDR down to it is a matter of taste.",
        "Export it as SDR (Rec. 709) from your editor, where you see the result.",
    ),
    "clip-too-short": _warning(
        "is too short to show movement",
        "are too short to show movement",
        "The shortest moving target has 21 frames (1.3 s); shorter clips train as stills.",
        "Use clips of at least 1.4 s, better 3 s.",
    ),
    "fps-not-16": _repaired(
        "does not run at 16 frames a second",
        "do not run at 16 frames a second",
        "Wan is trained at 16; other clips would be learned as slow motion.",
        "Converted to 16 fps; length and speed stay as they are.",
    ),
    "low-fps": _repaired(
        "has fewer than 16 frames a second",
        "have fewer than 16 frames a second",
        "Frames are repeated to keep the speed, which the LoRA may learn as stutter.",
        "Converted to 16 fps; use footage with at least 16 frames a second if you can.",
        "warning",
    ),
    "variable-fps": _repaired(
        "has a variable frame rate",
        "have a variable frame rate",
        "The trainer counts frames, not time, and would speed them up and slow them down.",
        "Converted to an even 16 fps.",
    ),
    "frames-not-4n1": _repaired(
        "has a number of frames that Wan does not use",
        "have numbers of frames that Wan does not use",
        "Wan takes 4N+1 frames: 21, 45, 81.",
        "The last one to three frames are cut.",
    ),
    "rotated": _repaired(
        "is stored lying and shown upright",
        "are stored lying and shown upright",
        "The trainer ignores the mark and would learn it lying.",
        "Turned.",
    ),
    "odd-size": _repaired(
        "has an odd width or height",
        "have an odd width or height",
        "Video is stored in blocks of two pixels.",
        "One row or column is cut.",
    ),
    "non-square-pixels": _repaired(
        "has pixels that are not square",
        "have pixels that are not square",
        "The trainer would learn it stretched.",
        "Scaled to square pixels.",
    ),
    "deep-colour": _repaired(
        "has more than 8 bits per colour",
        "have more than 8 bits per colour",
        "",
        "Converted to 8 bits.",
    ),
    "interlaced": _repaired(
        "is interlaced", "are interlaced", "Moving edges would be learned as combs.", "Joined."
    ),
    "audio-dropped": _repaired(
        "has sound", "have sound", "Wan learns pictures only.", "The sound is left out."
    ),
}

LOOKS: Mapping[str, Rule] = {
    "low-resolution": _warning(
        "has few pixels",
        "have few pixels",
        "They are enlarged for training, and the LoRA learns the softness.",
        "Use footage of at least 832 x 480, or 1280 x 720 for a 720p model.",
    ),
    "extreme-aspect": _warning(
        "is far wider or taller than Wan's formats",
        "are far wider or taller than Wan's formats",
        "Training cuts off what does not fit.",
        "Crop it to 16:9, 4:3, 1:1, 3:4 or 9:16 around the subject.",
    ),
    "blurry": _warning(
        "is blurred", "are blurred", "The LoRA learns the blur.", "Use sharp footage if you can."
    ),
    "static-clip": _warning(
        "does not move",
        "do not move",
        "A clip without movement teaches a video model to stand still.",
        "Use it as an image, or choose a clip with movement.",
    ),
    "black-frames": _warning(
        "has black frames",
        "have black frames",
        "The LoRA learns them as part of the scene.",
        "Cut fades and black parts away.",
    ),
    "black-image": _warning(
        "is black", "are black", "There is nothing to learn from it.", "Take it out of the zip."
    ),
    "letterboxed": _warning(
        "has black bars",
        "have black bars",
        "The LoRA learns the bars.",
        "Crop the bars away and export again.",
    ),
    "scene-cut": _warning(
        "has a cut to another scene",
        "have cuts to other scenes",
        "The LoRA learns to jump; Wan is trained on single shots.",
        "Split at the cuts, one clip for each shot.",
    ),
}

RULES: Mapping[str, Rule] = {**CAPTIONS, **FILES, **IMAGES, **CLIPS, **LOOKS}
