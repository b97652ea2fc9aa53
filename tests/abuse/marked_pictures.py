"""Pictures that carry a canary wherever a picture can carry more than its pixels."""

from __future__ import annotations

import io
import struct

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

CANARY = "canary-7c1e9d6f"
_XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'><dc:title>{CANARY}</dc:title></x:xmpmeta>".encode()


def marked(kind: str) -> bytes:
    """A JPEG, PNG or WEBP with everything in it that such a file can have."""
    buffer = io.BytesIO()
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    options: dict[str, object] = {"exif": _exif(), "icc_profile": _profile()}
    if kind == "PNG":
        options["pnginfo"] = _texts()
    elif kind == "JPEG":
        options |= {"xmp": _XMP, "comment": CANARY.encode()}
    else:
        options["xmp"] = _XMP
    picture.save(buffer, kind, **options)
    return buffer.getvalue() + f"<script>{CANARY}</script>".encode()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = CANARY
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: CANARY.encode()}
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (52.0, 31.0, 12.0),
        ExifTags.GPS.GPSAreaInformation: CANARY.encode(),
    }
    return exif


def _profile() -> bytes:
    """sRGB's, which stays valid: no tag points to what was added."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    longer = profile + CANARY.encode().ljust(16)
    return struct.pack(">I", len(longer)) + longer[4:]


def _texts() -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", CANARY)
    texts.add_text("Packed", CANARY * 20, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    return texts


def parts(content: bytes) -> list[str]:
    """What a JPEG, PNG or WebP consists of, by the names its format has; what follows is "rest"."""
    if content.startswith(b"\xff\xd8"):
        return _jpeg_parts(content)
    if content.startswith(b"\x89PNG"):
        return _chunks(content, 8, ">I4s", 12, "IEND")
    assert content[:4] == b"RIFF", content[:16]
    (size,) = struct.unpack_from("<I", content, 4)
    rest = ["rest"] if len(content) > size + 8 else []
    return _chunks(content[: size + 8], 12, "<4sI", 8, "") + rest


def _jpeg_parts(content: bytes) -> list[str]:
    names, at = [], 2
    while content[at + 1] != 0xDA:  # where the pixels begin
        names.append(f"{content[at + 1]:X}")
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    end = content.index(b"\xff\xd9", at) + 2
    return names + (["rest"] if len(content) > end else [])


def _chunks(content: bytes, at: int, head: str, around: int, last: str) -> list[str]:
    """`around` are the bytes of a chunk beside its body; WebP's bodies are padded to be even."""
    names: list[str] = []
    while at < len(content):
        if last and last in names:
            return [*names, "rest"]
        one, other = struct.unpack_from(head, content, at)
        kind, size = (other, one) if isinstance(one, int) else (one, other)
        names.append(kind.decode().strip())
        at += around + size + (0 if last else size % 2)
    return names
