"""What a file that is no text is, by its first bytes: names are what someone has called it."""

import struct
from dataclasses import dataclass

HEAD_BYTES = 65_536
"""Bytes of a file that are enough to tell; a picture can have a preview ahead of its size."""

_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"PK\x05\x06", "zip archive"),
    (0, b"\x1f\x8b", "gzip archive"),
    (0, b"BZh", "bzip2 archive"),
    (0, b"\xfd7zXZ\0", "xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "zstd archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (257, b"ustar", "tar archive"),
    (0, b"\x7fELF", "ELF program or library"),
    (0, b"MZ", "Windows program or library"),
    (0, b"\xcf\xfa\xed\xfe", "Mach-O program or library"),
    (0, b"\0asm", "WebAssembly module"),
    (0, b"SQLite format 3\0", "SQLite database"),
    (0, b"PAR1", "Parquet table"),
    (0, b"OggS", "Ogg audio or video"),
    (0, b"ID3", "MP3 audio"),
    (4, b"ftyp", "MP4 audio or video"),
    (0, b"RIFF", "RIFF audio, video or picture"),
    (0, b"BM", "BMP picture"),
    (0, b"II*\0", "TIFF picture"),
    (0, b"MM\0*", "TIFF picture"),
    (0, b"wOF2", "web font"),
)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG segments that tell the size; the others in this range are tables."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A kind of file that models can look at."""

    mime: str
    pixels: tuple[int, int] | None = None
    """Width and height of a picture, when its head tells."""


def media_type(head: bytes) -> MediaType | None:
    """Return what a file with this head is if MCP can carry it as what it is, else None."""
    if head.startswith(b"%PDF-"):
        return MediaType("application/pdf")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaType("image/png", _unpacked(">II", head, 16))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return MediaType("image/gif", _unpacked("<HH", head, 6))
    if head.startswith(b"\xff\xd8\xff"):
        return MediaType("image/jpeg", _jpeg_pixels(head))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return MediaType("image/webp", _webp_pixels(head))
    return None


def binary_kind(head: bytes) -> str:
    """Return in words what a file with this head is, at worst "binary"."""
    for at, magic, kind in _KINDS:
        if head.startswith(magic, at):
            return kind
    return "binary"


def _unpacked(form: str, head: bytes, at: int) -> tuple[int, int] | None:
    if len(head) < at + struct.calcsize(form):
        return None
    width, height = struct.unpack_from(form, head, at)
    return width, height


def _jpeg_pixels(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _webp_pixels(head: bytes) -> tuple[int, int] | None:
    """Source: RFC 9649, sections 2.5 to 2.7."""
    form = head[12:16]
    if form == b"VP8X" and len(head) >= 30:
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if form == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 " and (pixels := _unpacked("<HH", head, 26)):
        return pixels[0] & 0x3FFF, pixels[1] & 0x3FFF
    return None
