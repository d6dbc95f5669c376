"""Refuses rows with images, sound or video: only text can be trained on.

Without this check such a row would become a question about an image that nobody sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import RowProblem

CODE = "MEDIA_NOT_SUPPORTED"

PARTS = frozenset(
    {
        *("image", "image_url", "input_image", "audio", "audio_url", "input_audio"),
        *("video", "video_url", "input_video"),
    }
)
"""Types of the parts of a message that are no text."""

COLUMNS = frozenset({"image", "images", "audio", "audios", "video", "videos"})
PLACEHOLDERS = ("<image>", "<audio>", "<video>")
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"OggS", b"ID3", b"\0\0\0\x18ftyp")


def refuse_part(value: Any, place: str) -> None:
    """Raises `RowProblem` for a part of a message that is an image, sound or video."""
    if isinstance(value, dict) and value.get("type") in PARTS:
        raise RowProblem(CODE, place, "a part that is an image, sound or video")


def refuse(row: Mapping[str, Any]) -> None:
    """Raises `RowProblem` for a field with images, sound or video, and for one that names such
    files, if a text of the row says where they stand.
    """
    for name, value in row.items():
        if isinstance(value, str) and name not in COLUMNS:  # nearly always
            continue
        if _is_media(value, name) or (value and name in COLUMNS and _is_meant(row)):
            raise RowProblem(CODE, plain_name(name), "a field with images, sound or video")


def _is_media(value: Any, name: str) -> bool:
    """Whether it is the bytes of a file, or Hugging Face's object of them and a path."""
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, bytes):
        return name in COLUMNS or first.startswith(_STARTS)
    return isinstance(first, dict) and bool(first) and first.keys() <= {"bytes", "path"}


def _is_meant(row: Mapping[str, Any]) -> bool:
    """Whether a text of the row says where an image, sound or video stands."""
    return any(placeholder in str(value) for value in row.values() for placeholder in PLACEHOLDERS)
