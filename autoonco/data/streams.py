"""Whether compressed voxels of NRRD, MetaImage and PNG files are whole: their decoders go on without a word if not."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from autoonco.errors import ImageReadError

_GZIP = re.compile(rb"(?mi)^encoding:[ ]*(?:gzip|gz)[ ]*\r?$")
_PACKED = re.compile(rb"(?mi)^CompressedData[ ]*=[ ]*(?:True|T|1)\b")
_END = {
    ".nrrd": re.compile(rb"\r?\n\r?\n"),
    ".mha": re.compile(rb"(?mi)^ElementDataFile[ ]*=.*\n"),
    ".mhd": re.compile(rb"(?mi)^ElementDataFile[ ]*=.*\n"),
}
_MOST_HEADER = 2**20
_CHUNK = 2**20
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_WINDOW = 32 + 15  # zlib tells gzip's header from its own


def refuse_damaged_stream(path: Path, beside: Path | None, n_bytes: int) -> None:
    """Raise `ImageReadError` where compressed voxels fail their check sum or aren't `n_bytes`; others pass.

    Parameters
    ----------
    path
        The file, or its header where the voxels are `beside` it.
    n_bytes
        What the header claims.
    """
    with path.open("rb") as stream:
        head = stream.read(_MOST_HEADER)
    end = _END[path.suffix.lower()].search(head)
    header = head if end is None else head[: end.end()]
    is_gzip = _GZIP.search(header) is not None
    if not (is_gzip or _PACKED.search(header)):
        return
    start = 0 if beside is not None or end is None else end.end()
    with (beside or path).open("rb") as stream:
        stream.seek(start)
        if is_gzip and stream.read(2) != b"\x1f\x8b":
            return  # read as it is: gzip's own way with plain bytes
        stream.seek(start)
        packer, found = zlib.decompressobj(_WINDOW), 0
        try:
            while not packer.eof and found <= n_bytes and (chunk := stream.read(_CHUNK)):
                while chunk and not packer.eof and found <= n_bytes:
                    found += len(packer.decompress(chunk, _CHUNK))
                    chunk = packer.unconsumed_tail
            found += len(packer.flush()) if found <= n_bytes else 0
        except zlib.error as error:
            raise ImageReadError(
                f"The compressed voxels are damaged ({error}): export the file again."
            ) from error
    if found != n_bytes or not packer.eof:
        raise ImageReadError(
            f"The compressed voxels unpack to {found:,} of {n_bytes:,} bytes: copy or export the file again."
        )


def refuse_short_png(path: Path) -> None:
    """Raise `ImageReadError` where the rows of a PNG are fewer than its header says: Pillow fills them with zeros.

    An interlaced one, whose rows come in seven passes, is left to Pillow.
    """
    data = path.read_bytes()
    if data[:8] != _PNG or len(data) < 33 or data[12:16] != b"IHDR" or data[28]:
        return
    width, height, bits, colour = struct.unpack(">LLBB", data[16:26])
    row = (width * bits * _PNG_SAMPLES.get(colour, 1) + 7) // 8 + 1
    packer, found, at = zlib.decompressobj(), 0, 8
    try:
        while at + 12 <= len(data) and found < row * height:
            (size,) = struct.unpack_from(">L", data, at)
            if data[at + 4 : at + 8] == b"IDAT":
                found += len(packer.decompress(data[at + 8 : at + 8 + size], row * height - found))
            at += 12 + size
    except zlib.error as error:
        raise ImageReadError(
            f"The compressed pixels are damaged ({error}): export the picture again."
        ) from error
    if found < row * height:
        raise ImageReadError(
            f"The picture holds {found:,} of {row * height:,} bytes of pixels: copy or export it again."
        )
