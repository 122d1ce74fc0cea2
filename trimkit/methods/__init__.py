"""Generative methods: learned spaces, and what a plugin needs to write one."""

from trimkit.methods.base import LatentSpace, Method
from trimkit.methods.gathering import gather
from trimkit.methods.latent import LatentTransform
from trimkit.methods.likelihoods import Bernoulli, Gaussian, Laplace, Likelihood, LikelihoodName, make_likelihood
from trimkit.methods.phases import RECONSTRUCTION, Batch, Phase, StepResult, adam
from trimkit.methods.posteriors import Delta, DiagonalGaussian, Posterior, gaussian_kl, standard_normal
from trimkit.methods.stored import latent, load_method
from trimkit.objective import Schedule, Term, Weight, as_schedule, constant, cosine, linear

__all__ = [
    "RECONSTRUCTION",
    "Batch",
    "Bernoulli",
    "Delta",
    "DiagonalGaussian",
    "Gaussian",
    "Laplace",
    "LatentSpace",
    "LatentTransform",
    "Likelihood",
    "LikelihoodName",
    "Method",
    "Phase",
    "Posterior",
    "Schedule",
    "StepResult",
    "Term",
    "Weight",
    "adam",
    "as_schedule",
    "constant",
    "cosine",
    "gather",
    "gaussian_kl",
    "latent",
    "linear",
    "load_method",
    "make_likelihood",
    "standard_normal",
]
