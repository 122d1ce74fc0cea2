"""Generative methods: learned spaces, and what a plugin needs to write one."""

from trimkit.methods.base import LatentSpace, Method
from trimkit.methods.choices import chosen
from trimkit.methods.condition import Condition, make_condition
from trimkit.methods.conditional import ConditionalMethod
from trimkit.methods.decomposition import (
    Decomposition,
    Estimator,
    decompose_kl,
    gaussian_decomposition,
    mixture_weights,
    own_rows,
    summarise_kl,
)
from trimkit.methods.divergences import KernelName, check_kernel, maximum_mean_discrepancy, paired_discrepancy
from trimkit.methods.energies import MSSSIM, Perceptual
from trimkit.methods.interpolation import Interpolation, between, interpolate
from trimkit.methods.latent import CodeTransform, GeneratedTransform, LatentTransform, decode_codes
from trimkit.methods.likelihood import Likelihood, Scale
from trimkit.methods.likelihoods import (
    Bernoulli,
    Gaussian,
    Laplace,
    LikelihoodChoice,
    LikelihoodName,
    Logistic,
    make_likelihood,
)
from trimkit.methods.phases import RECONSTRUCTION, Batch, Phase, Reconstruct, StepResult, adam
from trimkit.methods.posteriors import Delta, DiagonalGaussian, Posterior, gaussian_kl, standard_normal
from trimkit.methods.precision import at_least_float32, no_autocast
from trimkit.methods.stored import latent, load_method
from trimkit.objective import (
    Schedule,
    Term,
    Weight,
    as_schedule,
    constant,
    cosine,
    cyclical,
    linear,
    one_cycle,
    require_weights,
)
from trimkit.processes import gather

__all__ = [
    "MSSSIM",
    "RECONSTRUCTION",
    "Batch",
    "Bernoulli",
    "CodeTransform",
    "Condition",
    "ConditionalMethod",
    "Decomposition",
    "Delta",
    "DiagonalGaussian",
    "Estimator",
    "Gaussian",
    "GeneratedTransform",
    "Interpolation",
    "KernelName",
    "Laplace",
    "LatentSpace",
    "LatentTransform",
    "Likelihood",
    "LikelihoodChoice",
    "LikelihoodName",
    "Logistic",
    "Method",
    "Perceptual",
    "Phase",
    "Posterior",
    "Reconstruct",
    "Scale",
    "Schedule",
    "StepResult",
    "Term",
    "Weight",
    "adam",
    "as_schedule",
    "at_least_float32",
    "between",
    "check_kernel",
    "chosen",
    "constant",
    "cosine",
    "cyclical",
    "decode_codes",
    "decompose_kl",
    "gather",
    "gaussian_decomposition",
    "gaussian_kl",
    "interpolate",
    "latent",
    "linear",
    "load_method",
    "make_condition",
    "make_likelihood",
    "maximum_mean_discrepancy",
    "mixture_weights",
    "no_autocast",
    "one_cycle",
    "own_rows",
    "paired_discrepancy",
    "require_weights",
    "standard_normal",
    "summarise_kl",
]
