"""Data that needs no download, and loaders for files, folders and the user's own code."""

from trimkit.data.arrays import dataset_of
from trimkit.data.base import Dataset, Split, SplitError
from trimkit.data.collect import as_dataset
from trimkit.data.factors import FactorSampler
from trimkit.data.files import load
from trimkit.data.samples import Samples, few, in_memory

__all__ = [
    "Dataset",
    "FactorSampler",
    "Samples",
    "Split",
    "SplitError",
    "as_dataset",
    "dataset_of",
    "few",
    "in_memory",
    "load",
]
