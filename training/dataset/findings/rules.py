"""The codes of findings on a dataset and its files, each with its severity and its texts.

Findings on layouts and on dataset TOMLs are defined elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.dataset.report import Severity
from training.wording import plural


@dataclass(frozen=True, slots=True)
class Rule:
    """The severity and the texts of the findings with one code.

    Attributes:
        is_repaired: Whether `repair` fixes the problem without asking.
        what: The text after a file name, such as "has no caption"; it starts with a verb.
        because: A sentence that says why the finding matters, or "".
        fix: Text on what the user can do, or what `repair` does.
        is_shown: Whether to name three files as examples even if all files have this finding.
    """

    severity: Severity
    is_repaired: bool
    what: str
    because: str
    fix: str
    is_shown: bool = False

    @property
    def of_many(self) -> str:
        """`what` in the plural: "have no caption", as in "3 of 12 clips have no caption"."""
        return plural(self.what)


def _error(what: str, because: str, fix: str) -> Rule:
    return Rule("error", False, what, because, fix)


def _shown(what: str, because: str, fix: str) -> Rule:
    return Rule("error", False, what, because, fix, is_shown=True)


def _warning(what: str, because: str, fix: str) -> Rule:
    return Rule("warning", False, what, because, fix)


def _info(what: str, because: str, fix: str) -> Rule:
    return Rule("info", False, what, because, fix)


def _repaired(what: str, because: str, fix: str, severity: Severity = "info") -> Rule:
    return Rule(severity, True, what, because, fix)


_CAPTIONS = {
    "missing-caption": _error(
        "has no caption",
        "Every image and clip needs a caption.",
        "Add a .txt file with the same name next to each: 001.txt for 001.mp4.",
    ),
    "empty-caption": _error(
        "has an empty caption file",
        "",
        "Write what the image or clip shows, including your trigger word.",
    ),
    "unreadable-caption": _error(
        "has a caption file that is not plain text",
        "",
        "Save captions as plain text (UTF-8, .txt), one paragraph each.",
    ),
    "caption-markup": _shown(
        "has a caption in a format other than plain text",
        "The LoRA would learn the markup.",
        "Keep the description only. The caption table shows these texts.",
    ),
    "caption-failed": _shown(
        "has a captioning program's error or refusal instead of a caption",
        "Such a text says nothing about the picture.",
        "Write what the image or clip shows, including your trigger word.",
    ),
    "caption-chat": Rule(
        "warning",
        False,
        "has a caption surrounded by a captioning model's remarks",
        "The LoRA would learn the remarks too.",
        "Keep the description only. The caption table shows these texts.",
        is_shown=True,
    ),
    "caption-garbled": _shown(
        "has a caption whose letters cannot be read",
        "The file does not use the encoding of the other captions, or letters were lost.",
        "Save captions as UTF-8, or write them in the caption table.",
    ),
    "caption-too-long": _warning(
        "has a caption that is longer than Wan can read",
        "Wan's text encoder reads 512 tokens, about 350 English words, and ignores the rest.",
        "Shorten these captions to what matters, with the trigger word first.",
    ),
    "caption-encoding": Rule(
        "warning",
        True,
        "has a caption that is not saved as UTF-8",
        "The trainer reads only UTF-8.",
        "Converted. Check that accents and special characters look right.",
        is_shown=True,
    ),
    "caption-name": _repaired(
        "has a caption file with a slightly different name",
        "The trainer would not find such a file.",
        "Matched automatically.",
    ),
    "captions-all-equal": _warning(
        "has the same caption",
        "The LoRA cannot tell the subject from its background.",
        "Describe in each caption what differs: pose, place, light, clothes.",
    ),
    "caption-alike": _warning(
        "has almost the same caption as another sample",
        "The LoRA cannot tell what differs between such samples.",
        "Describe in each caption what differs: pose, place, light, clothes.",
    ),
    "captions-share-phrase": _warning(
        "stands in nearly every caption",
        "The LoRA then ties the look to these words instead of to the trigger word.",
        "Remove what the trigger word stands for, such as a face or a hairstyle. Keep what you "
        "want to write in prompts.",
    ),
    "captions-share-words": _info(
        "stands in every caption",
        "",
        "Remove words for what the trigger word stands for. Keep the others.",
    ),
    "captions-leave-out": _info(
        "is not mentioned in any caption",
        "What captions never mention becomes a part of the trigger word.",
        "Describe it where it differs between the samples.",
    ),
    "trigger-missing": _warning(
        "does not have the trigger word in its caption",
        "The LoRA only learns the trigger from captions that contain it.",
        "Have the trigger word put before these captions, or write it into them yourself.",
    ),
    "second-caption": _warning(
        "belongs to an image or clip that has another caption file",
        "Only one caption is read: the .txt named after the image or clip, if there is one.",
        "Keep the better caption, and remove the other file.",
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
        "does not match its file extension", "", "Renamed with the right extension."
    ),
    "extension-case": _repaired(
        "has a file extension in mixed case",
        "The trainer silently skips such files.",
        "Changed to lower case.",
    ),
    "same-stem": _repaired(
        "has the same name as another file, apart from the extension",
        "The trainer would use the same caption and the same cache for both files.",
        "Renamed.",
        "warning",
    ),
    "renamed": _repaired("has spaces, accents or symbols in the name", "", "Given a plain name."),
    "junk-ignored": _repaired("comes from the operating system", "", "Left out."),
    "nested-folder": _repaired("encloses the whole dataset", "", "Unwrapped automatically."),
    "windows-separators": _repaired(
        "has backslashes between its folders",
        "Many programs unpack such a path as one long file name.",
        "Moved into the right folder.",
    ),
    "name-encoding": _repaired(
        "has a name that is not stored as Unicode",
        "Such names were decoded in the one encoding that fits all of them.",
        "Converted to Unicode. Check that the names look right.",
    ),
    "leftover-cache": _repaired(
        "is a cache file of an earlier training run",
        "The trainer would use old caches, whatever they contain.",
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
    "left-out": _repaired("is left out of the dataset", "", "Left out, as you asked."),
    "unread-table": _warning(
        "is a Parquet, Excel or database table",
        "Captions and pictures in such tables are not read.",
        "Export the captions as metadata.csv or metadata.jsonl, and any pictures as PNG or JPEG.",
    ),
    "other-file": _repaired("is neither image, clip nor caption", "", "Left out."),
    "exact-duplicate": _warning(
        "has the same content as another file",
        "The LoRA memorizes pictures that it sees more often.",
        "Remove the copies.",
    ),
    "near-duplicate": _warning(
        "looks almost the same as another sample",
        "The LoRA memorizes pictures that it sees more often.",
        "Of similar samples, keep only the best, unless the similarity is intended.",
    ),
    "too-few-samples": _warning(
        "is not much to learn from",
        "With so few samples, the LoRA memorizes the pictures instead of learning the subject.",
        "Use at least 10 images or clips, ideally 20 to 40.",
    ),
}

_IMAGES = {
    "corrupt-image": _error(
        "cannot be decoded", "", "Export the image again, or remove it from the zip."
    ),
    "image-too-large": _error(
        "has too many pixels",
        "",
        "Scale images down to 2048 pixels a side; training never uses more.",
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
        "The trainer ignores transparency and would learn the hidden parts of the picture.",
        "Placed on white. If the background matters, use your own.",
        "warning",
    ),
    "opaque-alpha": _repaired(
        "has an unused alpha channel", "", "Removed; the picture is unchanged."
    ),
    "deep-image": _error(
        "stores its pixels in a format with an unknown white level",
        "",
        "Export with 8 or 16 bits per channel, as PNG or JPEG.",
    ),
    "strange-image-colours": _error(
        "declares colours that cannot be converted",
        "The colours would come out wrong.",
        "Export in sRGB.",
    ),
    "sixteen-bit": _repaired(
        "has 16 bits per channel",
        "The trainer would turn most of the picture white.",
        "Converted to 8 bits.",
    ),
    "colour-profile": _repaired(
        "has colours other than sRGB",
        "The trainer ignores colour profiles and would learn wrong colours.",
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
    "clip-too-large": _error("has too many pixels", "", "Scale to 1920 x 1080 or 1280 x 720."),
    "clip-too-small": _error(
        "is too small to train on", "", "Use clips of at least 832 x 480 pixels."
    ),
    "clip-too-long": _error("is too long", "", "Cut clips into scenes of 2 to 10 seconds."),
    "hdr": _error(
        "is in HDR",
        "Wan is trained on SDR, and the conversion to SDR is a matter of taste.",
        "Export in SDR (Rec. 709, sRGB) from your editor, where you can see the result.",
    ),
    "strange-colours": _error(
        "stores its colours in a form that cannot be converted",
        "The colours would come out wrong.",
        "Export with BT.709 colours (Rec. 709), the usual choice for SDR.",
    ),
    "changes-size": _error(
        "changes its picture size or pixel format",
        "The trainer uses one size for a whole clip.",
        "Split the clip where the size changes, so that each part has a single size.",
    ),
    "clip-too-short": _warning(
        "is too short to show movement",
        "To learn movement, training uses windows of at least 21 frames (1.3 s); a shorter clip is "
        "used at its own length.",
        "Use clips of at least 1.4 s, ideally 3 s.",
    ),
    "fps-not-16": _repaired(
        "does not run at 16 frames per second",
        "Wan is trained at 16 fps; the LoRA would learn clips with a higher frame rate as slow "
        "motion.",
        "Converted to 16 fps; length and speed do not change.",
    ),
    "low-fps": _repaired(
        "has fewer than 16 frames per second",
        "Frames are repeated to keep the speed, and the LoRA may learn the repeats as stutter.",
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
        "Wan takes 4N+1 frames, such as 21, 45 or 81.",
        "Trimmed by one to three frames at the end.",
    ),
    "rotated": _repaired(
        "is stored sideways",
        "The trainer ignores the rotation flag and would see a sideways picture.",
        "Rotated.",
    ),
    "odd-size": _repaired(
        "has an odd width or height",
        "Video is stored in blocks of two pixels.",
        "Cropped by one row or column.",
    ),
    "non-square-pixels": _repaired(
        "has non-square pixels",
        "The trainer would see a stretched picture.",
        "Scaled to square pixels.",
    ),
    "deep-colour": _repaired("has more than 8 bits per colour", "", "Converted to 8 bits."),
    "wide-colours": _repaired(
        "has colours outside the standard range",
        "The LoRA would learn duller colours.",
        "Converted to BT.709, which has the colours of sRGB.",
    ),
    "untagged-colours": _repaired(
        "does not say how its colours are stored",
        "Like most players, the bot guesses from the size: BT.709 if the clip is wider than 1279 "
        "or higher than 576 pixels, otherwise BT.601.",
        "Tagged accordingly. If the colours look wrong, export the clip with colour tags.",
    ),
    "several-streams": _repaired(
        "has several video tracks",
        "The trainer reads only one video track.",
        "The largest moving track is used. If that is the wrong one, export the clip with a single "
        "track.",
        "warning",
    ),
    "joined": _repaired(
        "was joined from parts whose time stamps start over",
        "The trainer would see the parts as one shot.",
        "The parts are played one after the other. If they show different scenes, split the clip "
        "between them.",
        "warning",
    ),
    "time-gap": _repaired(
        "has a long gap in its time stamps",
        "No picture is stored for the gap, so the trainer would see a still picture.",
        "The gap is closed. If what follows is another scene, split the clip there.",
        "warning",
    ),
    "dropped-alpha": _repaired(
        "has transparency in a form that cannot be read",
        "What lies behind transparent areas becomes visible.",
        "Transparency is ignored. If the picture looks wrong, export it on a solid background.",
        "warning",
    ),
    "interlaced": _repaired(
        "is interlaced", "The LoRA would learn comb-like edges.", "Deinterlaced."
    ),
    "audio-dropped": _repaired("has sound", "", "Sound is removed; Wan learns from pictures only."),
}

_LOOKS = {
    "low-resolution": _warning(
        "has a low resolution",
        "Training enlarges such clips, and the LoRA learns the resulting blur.",
        "Use footage of at least 832 x 480, or 1280 x 720 for a 720p model.",
    ),
    "small-image": _warning(
        "has far fewer pixels than the models train on",
        "Images are never enlarged, and the LoRA learns less detail from small ones.",
        "Use images of about 832 x 480 or more, or 1280 x 720 for a 720p model.",
    ),
    "extreme-aspect": _warning(
        "is much wider or taller than Wan's formats",
        "Training crops what does not fit.",
        "Crop to 16:9, 4:3, 1:1, 3:4 or 9:16 around the subject.",
    ),
    "blurry": _warning("is blurred", "The LoRA learns the blur.", "Use sharp footage if you can."),
    "static-clip": _warning(
        "does not move",
        "A clip without movement teaches a video model to stand still.",
        "Use a still image instead, or choose a clip with movement.",
    ),
    "long-pause": _warning(
        "stands still for some time",
        "Training on such a pause teaches a video model to stand still.",
        "Cut the pause out, or split the clip there, unless it belongs to the scene.",
    ),
    "black-frames": _warning(
        "has black frames",
        "The LoRA learns black frames as part of the scene.",
        "Cut out fades and black frames.",
    ),
    "black-image": _warning(
        "is black", "A black picture teaches nothing.", "Remove such files from the zip."
    ),
    "blank-image": _warning(
        "is a single colour", "A single colour teaches nothing.", "Remove such files from the zip."
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
        "Split at the cuts, into one clip per shot.",
    ),
}

RULES: Mapping[str, Rule] = MappingProxyType({**_CAPTIONS, **_FILES, **_IMAGES, **_CLIPS, **_LOOKS})
