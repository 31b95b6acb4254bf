"""One small whole file of each format that autoonco reads, for the fault matrix of the tests and for `fuzz`."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

FORMATS = (
    "png", "jpg", "bmp", "tif", "nii", "nii.gz", "nrrd", "gzip.nrrd", "mha", "zlib.mha", "mhd", "npy", "npz", "dcm",
    "lossless.dcm", "j2k.dcm", "jls.dcm", "lossy.dcm",
)  # fmt: skip
"""What comes after the first dot of a file's name."""


PACKED = {
    "lossless.dcm": "JPEGLosslessProcess14_1",
    "j2k.dcm": "JPEG2000Lossless",
    "jls.dcm": "JPEGLSLossless",
    "lossy.dcm": "JPEGExtendedProcess2_4",
}
"""Kinds of compressed DICOM, and what GDCM calls them."""


def picture() -> NDArray[np.uint8]:
    """Return noise over a ramp ``(y, x)``: not so smooth that a codec leaves a byte without meaning."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 120, (24, 32)) + np.arange(32) * 4).astype(np.uint8)


def volume() -> NDArray[np.int16]:
    """Return noise around a lesion ``(z, y, x)``."""
    values = np.random.default_rng(1).normal(-400, 150, (6, 12, 14))
    values[2:4, 4:8, 5:9] += 500
    return values.astype(np.int16)


def write(folder: Path, kind: str) -> Path:
    """Write the whole file of a format, the voxels of ``mhd`` beside it; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"whole.{kind}"
    if kind in ("png", "jpg", "bmp", "tif"):
        Image.fromarray(picture()).save(path)
    elif kind == "npy":
        np.save(path, volume(), allow_pickle=False)
    elif kind == "npz":
        np.savez_compressed(path, image=volume(), allow_pickle=False)
    elif kind in PACKED:
        stored = (volume()[3] + 1024).astype(np.uint16)
        write_dicom(path, PixelRepresentation=0, BitsStored=12, HighBit=11, PixelData=stored.tobytes())
        pack(path, PACKED[kind])
    elif kind == "dcm":
        write_dicom(path)
    else:
        image = sitk.GetImageFromArray(volume())
        image.SetSpacing([0.8, 0.8, 2.5])
        sitk.WriteImage(image, str(path), kind.startswith(("gzip", "zlib")))
    return path


def write_dicom(path: Path, **changes: object) -> None:
    """Write a CT slice as a DICOM file; `changes` are attributes set at last."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["slice"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    data.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    data.Modality, data.PatientID, data.PatientName = "CT", "planted-id", "Planted^Name"
    data.Rows, data.Columns = volume().shape[1:]
    data.PixelSpacing, data.SliceThickness = [0.8, 0.8], 2.5
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    data.PixelData = volume()[3].tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def pack(path: Path, syntax: str) -> None:
    """Compress the pixels of a DICOM file."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    read = reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    packed = change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    if not (read and packed and writer.Write()):
        raise RuntimeError(f"GDCM could not write {syntax}.")


def gz(content: bytes) -> bytes:
    """Return `content` compressed by gzip, the same for the same content."""
    return gzip.compress(content, 6, mtime=0)
