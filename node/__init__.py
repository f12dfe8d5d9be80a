"""The DICOM node: the only application, and the only package that knows all the others."""
