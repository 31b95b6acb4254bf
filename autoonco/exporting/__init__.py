"""A fitted model or a run in the forms of others: plain files, ONNX, MONAI bundles, DICOM reports, DeepCAVE."""
