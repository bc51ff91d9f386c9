"""The types of images and clips, by file extension."""

# Files that the trainer reads, as listed in musubi-tuner's dataset/media_utils.py.
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif"})
CLIPS = frozenset(
    {".mp4", ".webm", ".avi", ".mkv", ".mov", ".flv", ".wmv", ".m4v", ".mpg", ".mpeg"}
)
# Files that the trainer does not read, but that repair converts. Phones and camcorders record clips
# of these types.
CONVERTED_IMAGES = frozenset({".tif", ".tiff", ".gif", ".ppm", ".tga", ".jp2", ".jfif", ".jpe"})
CONVERTED_CLIPS = frozenset({".ts", ".mts", ".m2ts", ".3gp"})
MEDIA = IMAGES | CONVERTED_IMAGES | CLIPS | CONVERTED_CLIPS
