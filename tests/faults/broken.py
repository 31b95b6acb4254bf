"""Files that are broken in ways that have a name; each function writes one into a folder."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.originals import gz, volume, write, write_dicom

Fault = Callable[[Path], Path]
ANY = "AO101 AO109"
NRRD = (
    "NRRD0004\ntype: {type}\ndimension: {dimension}\nspace: left-posterior-superior\nsizes: {sizes}\n"
    "space directions: {directions}\nencoding: {encoding}\nendian: little\nspace origin: (0,0,0)\n{more}\n"
)
PLAIN = {
    "type": "short", "dimension": 3, "sizes": "14 12 6", "directions": "(1,0,0) (0,1,0) (0,0,2)", "encoding": "raw",
    "more": "",
}  # fmt: skip
MHD = (
    "ObjectType = Image\nNDims = {ndims}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "CompressedData = {packed}\n"
    "ElementSpacing = {spacing}\nDimSize = {size}\nElementType = {type}\nElementDataFile = {file}\n"
)
MHA = {
    "ndims": 3,
    "packed": "False",
    "spacing": "1 1 2",
    "size": "14 12 6",
    "type": "MET_SHORT",
    "file": "LOCAL",
}


def nifti(offset: int, form: str, *values: float, compress: bool = False) -> Fault:
    """Return a fault: the NIfTI header with values of struct format `form` at `offset`."""

    def make(folder: Path) -> Path:
        path = write(folder, "nii")
        content = bytearray(path.read_bytes())
        struct.pack_into("<" + form, content, offset, *values)
        target = folder / ("broken.nii.gz" if compress else "broken.nii")
        target.write_bytes(gz(bytes(content)) if compress else bytes(content))
        return target

    return make


def nrrd(**changes: object) -> Fault:
    def make(folder: Path) -> Path:
        path = folder / "broken.nrrd"
        path.write_bytes(NRRD.format(**PLAIN | changes).encode() + volume().tobytes())
        return path

    return make


def meta(name: str = "broken.mha", **changes: object) -> Fault:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(MHD.format(**MHA | changes).encode() + volume().tobytes())
        return path

    return make


def dicom(**changes: object) -> Fault:
    def make(folder: Path) -> Path:
        write_dicom(folder / "broken.dcm", **changes)
        return folder / "broken.dcm"

    return make


def packed(kind: str, start: bytes, at: int, value: int) -> Fault:
    """Return a fault: compressed DICOM with a byte `at` so far behind the `start` of its stream replaced."""

    def make(folder: Path) -> Path:
        path = write(folder, kind)
        content = bytearray(path.read_bytes())
        content[content.index(start) + at] = value
        path.write_bytes(bytes(content))
        return path

    return make


def content(name: str, data: bytes) -> Fault:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def renamed(kind: str, name: str) -> Fault:
    """A whole file of one format under the name of another."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(write(folder, kind).read_bytes())
        return folder / name

    return make


# --- NumPy ------------------------------------------------------------------------------------------------------


class Payload:
    """What runs where somebody unpickles it: it leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def pickled_npy(folder: Path) -> Path:
    path = folder / "broken.npy"
    np.save(path, np.array([Payload(folder / "ran")], dtype=object), allow_pickle=True)
    return path


def pickled_npz(folder: Path) -> Path:
    path = folder / "broken.npz"
    np.savez(path, image=np.array([Payload(folder / "ran")], dtype=object))
    return path


def bare_pickle(folder: Path) -> Path:
    import pickle

    (folder / "broken.npy").write_bytes(pickle.dumps(Payload(folder / "ran")))
    return folder / "broken.npy"


def npy(header: str, data: bytes = b"\0" * 64) -> Fault:
    text = header.encode().ljust(117) + b"\n"
    return content("broken.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)


def npz(*members: tuple[str, bytes]) -> Fault:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "broken.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return folder / "broken.npz"

    return make


def as_npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def lying_npz(folder: Path) -> Path:
    """A member whose zip entry claims sixteen gigabytes."""
    path = npz(("image.npy", as_npy(volume())))(folder)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, entry + 24, 0xFFFFFFF0)
    path.write_bytes(bytes(data))
    return path


# --- pictures ---------------------------------------------------------------------------------------------------


def png(width: int, height: int, rows: bytes = b"", *more: tuple[bytes, bytes]) -> Fault:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    body = b"".join(chunk(kind, data) for kind, data in more)
    return content(
        "broken.png",
        b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""),
    )


def jpeg_claims(folder: Path) -> Path:
    data = bytearray(write(folder, "jpg").read_bytes())
    start = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, start + 5, 65000, 65000)
    (folder / "broken.jpg").write_bytes(bytes(data))
    return folder / "broken.jpg"


def pages(folder: Path) -> Path:
    frames = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(3)]
    frames[0].save(folder / "broken.tif", save_all=True, append_images=frames[1:])
    return folder / "broken.tif"


def tiff_claims(folder: Path) -> Path:
    data = bytearray(write(folder, "tif").read_bytes())
    for tag in (256, 257):  # width and length
        at = data.index(struct.pack("<HHL", tag, 4 if struct.pack("<HHL", tag, 4, 1) in data else 3, 1))
        struct.pack_into("<HHLL", data, at, tag, 4, 1, 4_000_000)
    (folder / "broken.tif").write_bytes(bytes(data))
    return folder / "broken.tif"


def bmp_claims(folder: Path) -> Path:
    data = bytearray(write(folder, "bmp").read_bytes())
    struct.pack_into("<ll", data, 18, 60_000, 60_000)
    (folder / "broken.bmp").write_bytes(bytes(data))
    return folder / "broken.bmp"


# --- bombs and ways out -----------------------------------------------------------------------------------------


def nifti_bomb(folder: Path) -> Path:
    """Three megabytes that unpack to three gigabytes, as the header says."""
    head = bytearray(write(folder, "nii").read_bytes()[:352])
    struct.pack_into("<8h", head, 40, 3, 1024, 1024, 1536, 1, 1, 1, 1)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    path = folder / "broken.nii.gz"
    with path.open("wb") as stream:
        stream.write(packer.compress(bytes(head)))
        block = bytes(2**24)
        for _ in range(192):
            stream.write(packer.compress(block))
        stream.write(packer.flush())
    return path


def behind(folder: Path) -> Path:
    """A file outside of the folder of the scan, with as many bytes as its voxels would need."""
    target = folder.parent / "outside.raw"
    target.write_bytes(volume().tobytes())
    return target


def nrrd_absolute(folder: Path) -> Path:
    return nrrd(more=f"data file: {behind(folder)}\n")(folder)


def nrrd_upwards(folder: Path) -> Path:
    behind(folder)
    return nrrd(more="data file: ../outside.raw\n")(folder)


def mhd_absolute(folder: Path) -> Path:
    return meta("broken.mhd", file=behind(folder))(folder)


def mhd_upwards(folder: Path) -> Path:
    behind(folder)
    return meta("broken.mhd", file="../outside.raw")(folder)


def link_to_nothing(folder: Path) -> Path:
    (folder / "broken.nii").symlink_to(folder / "nowhere.nii")
    return folder / "broken.nii"


def link_to_itself(folder: Path) -> Path:
    (folder / "broken.png").symlink_to(folder / "broken.png")
    return folder / "broken.png"


def a_folder(folder: Path) -> Path:
    (folder / "broken.nii.gz").mkdir()
    return folder / "broken.nii.gz"


def pipe(folder: Path) -> Path:
    """A named pipe, from which a reader would wait for ever."""
    import os

    os.mkfifo(folder / "broken.png")
    return folder / "broken.png"


TEXT_BOMB = b"a\0\0" + zlib.compress(bytes(2**28))
FAULTS: dict[str, tuple[Fault, str]] = {
    "nifti header of another size": (nifti(0, "i", 349), "AO101 same"),
    "nifti of no axes": (nifti(40, "h", 0), "AO109"),
    "nifti of nine axes": (nifti(40, "h", 9), "AO101"),
    "nifti of a negative size": (nifti(42, "h", -14), "AO109"),
    "nifti of size zero": (nifti(42, "h", 0), "AO109"),
    "nifti of absurd size": (nifti(42, "3h", 32767, 32767, 32767), "AO101"),
    "nifti.gz of absurd size": (nifti(42, "3h", 32767, 32767, 32767, compress=True), "AO101"),
    "nifti of four axes": (nifti(40, "5h", 4, 14, 12, 3, 2), "AO109"),
    "nifti of five axes": (nifti(40, "6h", 5, 14, 12, 1, 3, 2), "AO109"),
    "nifti of unknown type": (nifti(70, "h", 77), "AO101"),
    "nifti of complex numbers": (nifti(70, "2h", 32, 64), "AO101"),
    "nifti of colours": (nifti(70, "2h", 128, 24), "AO101"),
    "nifti of wider voxels": (nifti(70, "2h", 64, 64), "AO101"),
    "nifti with NaN in its affine": (nifti(280, "f", float("nan")), "AO101"),
    "nifti with infinity in its affine": (nifti(292, "f", float("inf")), "AO101"),
    "nifti with a spacing of zero": (nifti(280, "4f", 0, 0, 0, 0), "AO101"),
    "nifti on a sheared grid": (nifti(280, "4f", 0.8, 0.8, 0, 0), "AO101"),
    "nifti whose voxels begin behind its end": (nifti(108, "f", 1e9), "AO101"),
    "nifti whose voxels begin before its start": (nifti(108, "f", -400.0), "AO101"),
    "nifti with NaN as slope's offset": (nifti(112, "2f", 1.0, float("inf")), "AO101 AO105 AO106"),
    "nifti with another magic": (nifti(344, "4s", b"abcd"), "AO101"),
    "nifti bomb": (nifti_bomb, "AO101"),
    "nrrd of absurd size": (nrrd(sizes="90000 90000 90000"), "AO101"),
    "nrrd of size zero": (nrrd(sizes="0 12 6"), ANY),
    "nrrd of a negative size": (nrrd(sizes="-14 12 6"), "AO101"),
    "nrrd of four axes": (nrrd(dimension=4, sizes="14 12 3 2", directions="(1,0,0) (0,1,0) (0,0,2) none"), ANY),
    "nrrd of other sizes than axes": (nrrd(sizes="14 12"), "AO101"),
    "nrrd of unknown type": (nrrd(type="thing"), "AO101"),
    "nrrd of unknown encoding": (nrrd(encoding="rot13"), "AO101"),
    "nrrd that says gzip and is not": (nrrd(encoding="gzip"), "same"),
    "nrrd without directions of rank 3": (nrrd(directions="(1,0,0) (1,0,0) (0,0,2)"), "AO101"),
    "nrrd with NaN as spacing": (nrrd(directions="(nan,0,0) (0,1,0) (0,0,2)"), "AO101"),
    "nrrd with its voxels at an absolute path": (nrrd_absolute, "AO101"),
    "nrrd with its voxels above its folder": (nrrd_upwards, "AO101"),
    "nrrd with a list of files": (nrrd(more="data file: LIST\n1.raw\n2.raw"), "AO101"),
    "mha of absurd size": (meta(size="90000 90000 90000"), "AO101"),
    "mha of size zero": (meta(size="0 12 6"), ANY),
    "mha of a negative size": (meta(size="-14 12 6"), "AO101"),
    "mha of forty axes": (meta(ndims=40), ANY),
    "mha of unknown type": (meta(type="MET_THING"), "AO101"),
    "mha that says compressed and is not": (meta(packed="True"), "AO101"),
    "mha with a spacing of zero": (meta(spacing="0 1 2"), "AO101"),
    "mha with NaN as spacing": (meta(spacing="nan 1 2"), "AO101"),
    "mhd with its voxels at an absolute path": (mhd_absolute, "AO101"),
    "mhd with its voxels above its folder": (mhd_upwards, "AO101"),
    "mhd without its voxels": (meta("broken.mhd", file="gone.raw"), "AO101"),
    "mhd whose voxels are itself": (meta("broken.mhd", file="broken.mhd"), "AO101"),
    "npy with a pickle": (pickled_npy, "AO101"),
    "npz with a pickle": (pickled_npz, "AO101"),
    "npy that is a pickle": (bare_pickle, "AO101"),
    "npy with code in its header": (npy("__import__('os').abort()"), "AO101"),
    "npy of absurd shape": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (90000, 90000, 90000), }"), "AO101"),
    "npy of a negative shape": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 4), }"), "AO101"),
    "npy of text": (content("broken.npy", as_npy(np.array([["a", "b"], ["c", "d"]]))), "AO101"),
    "npy of records": (content("broken.npy", as_npy(np.zeros((4, 4), "f4,f4"))), "AO101"),
    "npy of complex numbers": (content("broken.npy", as_npy(np.zeros((4, 4), complex))), "AO101"),
    "npy of one axis": (content("broken.npy", as_npy(np.arange(9))), "AO109"),
    "npy of five axes": (content("broken.npy", as_npy(np.zeros((2, 3, 2, 3, 2)))), "AO109"),
    "npy without an element": (content("broken.npy", as_npy(np.zeros((0, 4)))), ANY),
    "npz of nothing": (npz(), "AO101"),
    "npz of several arrays": (npz(("a.npy", as_npy(volume())), ("b.npy", as_npy(volume()))), "AO101"),
    "npz with a way out in its names": (npz(("../../evil.npy", b"x")), "AO101"),
    "npz that claims what it has not": (lying_npz, "AO101"),
    "npz bomb": (npz(("image.npy", as_npy(np.zeros((64, 1024, 1024), np.uint8)))), "AO101 AO106"),
    "png of absurd size": (png(60_000, 60_000, b"\0" * 99), "AO101"),
    "png of size zero": (png(0, 0), "AO101"),
    "png of fewer rows than it says": (png(32, 32, b"\0abc" * 33), "AO101"),
    "png with a bomb of text": (png(32, 32, bytes(33 * 32), (b"zTXt", TEXT_BOMB)), "AO101"),
    "jpeg of absurd size": (jpeg_claims, "AO101"),
    "tiff of several pages": (pages, ANY),
    "tiff of absurd size": (tiff_claims, "AO101"),
    "bmp of absurd size": (bmp_claims, "AO101"),
    "dicom without pixels": (dicom(PixelData=None), "AO101"),
    "dicom of absurd size": (dicom(Rows=65000, Columns=65000), "AO101"),
    "dicom of other rows than pixels": (dicom(Rows=99), "AO101"),
    "dicom of size zero": (dicom(Rows=0), "AO101"),
    "dicom of odd bits": (dicom(BitsAllocated=13), "AO101"),
    "dicom with a spacing of zero": (dicom(PixelSpacing=[0, 0]), "AO101"),
    "dicom without its photometric meaning": (dicom(PhotometricInterpretation="THING"), "AO101"),
    "dicom of lossless jpeg of odd depth": (packed("lossless.dcm", b"\xff\xd8\xff", 6, 0xFF), "AO101"),
    "dicom of lossless jpeg with a table of no length": (packed("lossless.dcm", b"\xff\xd8\xff", 16, 0), "AO101"),
    "dicom of jpeg 2000 of odd depth": (packed("j2k.dcm", b"\xff\x4f\xff", 42, 0xFF), "AO101"),
    "text called png": (content("broken.png", b"<html>404 not found</html>"), "AO101"),
    "text called dcm": (content("broken.dcm", b"<html>404 not found</html>"), "AO101"),
    "png called nifti": (renamed("png", "broken.nii"), "AO101"),
    "nifti called png": (renamed("nii", "broken.png"), "AO101"),
    "nifti called nifti.gz": (renamed("nii", "broken.nii.gz"), "AO101"),
    "nrrd called mha": (renamed("nrrd", "broken.mha"), "AO101"),
    "dicom called nrrd": (renamed("dcm", "broken.nrrd"), "AO101"),
    "npz called npy": (renamed("npz", "broken.npy"), "AO101"),
    "a program": (content("broken.exe", b"MZ" + bytes(99)), "AO101"),
    "a file without a suffix": (content("broken", b"\x7fELF" + bytes(99)), "AO101"),
    "a link to nothing": (link_to_nothing, "AO101"),
    "a link to itself": (link_to_itself, "AO101"),
    "an empty folder called nifti": (a_folder, "AO101"),
    "a pipe": (pipe, "AO101"),
}  # fmt: skip
"""Name → (what writes it, the codes of findings of which one has to rule it out)."""
