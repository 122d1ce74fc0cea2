"""Disentanglement metrics of any codes: functions over (codes, factors) arrays, or over an encoder and a sampler.

Codes are (N, D) real numbers, factors (N, K) integers; tensors, arrays and nested lists are taken. Each function
returns a `MetricResult`: value, 95 % interval, protocol, parts. It is computed in float64, depends on its arguments and
the seed alone, and has a defined value for every finite input: a dead code, a factor that no code knows, codes that are
all constant. A factor with one value among the samples (the colour of dSprites) is left out, and named in the protocol.

`report` gives all metrics of arrays, `evaluate` those that draw samples too.
"""

from trimkit.metrics.bootstrap import DRAWS
from trimkit.metrics.disentanglement.baselines import Projection, linear_baselines
from trimkit.metrics.disentanglement.dci import DCI, dci
from trimkit.metrics.disentanglement.evaluation import Results, evaluate, report
from trimkit.metrics.disentanglement.irs import irs
from trimkit.metrics.disentanglement.modularity import explicitness, modularity
from trimkit.metrics.disentanglement.mutual_information import mutual_information_gap, sampled_mutual_information_gap
from trimkit.metrics.disentanglement.regression import beta_vae_score
from trimkit.metrics.disentanglement.sampling import PROTOCOLS, Encoder, Groups, Sampler
from trimkit.metrics.disentanglement.sap import sap
from trimkit.metrics.disentanglement.udr import udr
from trimkit.metrics.disentanglement.unsupervised import (
    gaussian_total_correlation,
    mean_pairwise_mutual_information,
    wasserstein_correlation,
)
from trimkit.metrics.disentanglement.voting import factor_vae_score
from trimkit.metrics.results import MetricResult

__all__ = [
    "DCI",
    "DRAWS",
    "PROTOCOLS",
    "Encoder",
    "Groups",
    "MetricResult",
    "Projection",
    "Results",
    "Sampler",
    "beta_vae_score",
    "dci",
    "evaluate",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "irs",
    "linear_baselines",
    "mean_pairwise_mutual_information",
    "modularity",
    "mutual_information_gap",
    "report",
    "sampled_mutual_information_gap",
    "sap",
    "udr",
    "wasserstein_correlation",
]
