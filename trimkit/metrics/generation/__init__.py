"""Metrics of generative networks, as functions over arrays of features and codes, without any download.

Features are those of a predictor that you have: a frozen classifier of the same data, or pixels. Numbers on them are no
FID, KID or published path length, which are defined by the weights of particular networks, and are not called so.
"""

from trimkit.metrics.generation.distances import frechet_distance, kernel_distance
from trimkit.metrics.generation.latents import code_accuracy, reciprocity_error
from trimkit.metrics.generation.manifold import PrecisionRecall, precision_recall
from trimkit.metrics.generation.path_length import linear_path, perceptual_path_length, spherical
from trimkit.metrics.generation.separability import linear_separability

__all__ = [
    "PrecisionRecall",
    "code_accuracy",
    "frechet_distance",
    "kernel_distance",
    "linear_path",
    "linear_separability",
    "perceptual_path_length",
    "precision_recall",
    "reciprocity_error",
    "spherical",
]
