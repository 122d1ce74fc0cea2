"""Data that needs no download, and loaders for files and for the user's own code."""

from trimkit.data.base import Dataset, Split
from trimkit.data.files import dataset_of, load

__all__ = ["Dataset", "Split", "dataset_of", "load"]
