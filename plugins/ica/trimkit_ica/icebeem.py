"""ICE-BeeM: the conditional energy-based model p(x|u) ∝ exp(−E(x, u)), E(x, u) = F(x)ᵀ g(u), of features f(x)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from trimkit.errors import DataError, OptionError, nearest
from trimkit.methods import (
    Batch,
    Phase,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    at_least_float32,
    standard_normal,
)
from trimkit.registry.options import whole_number
from trimkit_ica.auxiliary import FunctionOfAux, accuracy
from trimkit_ica.features import FeatureMethod
from trimkit_ica.flow import CouplingFlow
from trimkit_ica.networks import ACTIVATIONS, Activation, mlp
from trimkit_ica.unmixing import whiten

Estimation: TypeAlias = Literal["flow", "score", "classes"]

Form: TypeAlias = Literal["plain", "positive", "squared", "even"]

ESTIMATIONS = get_args(Estimation)
FORMS = get_args(Form)


class ICEBeeM(FeatureMethod):
    """ICE-BeeM (Khemakhem et al. 2020, arXiv:2002.11537): features of data whose latents may depend on each other.

    p(x|u) ∝ exp(−F(x)ᵀ g(u)). The features f are found up to a linear map where F = f ("plain"), and up to order, scale
    and shift where f ≥ 0 ("positive") or F = [f, f²] ("squared"), provided g takes enough values. Nothing asks the
    latents to be independent given u (IMCA), so that the space "components", a linear ICA of f, means something only
    where they are.

    Where u moves the latents' spread alone, the density says nothing of their signs, and f may fold: √(s₁² + s₂²) for
    two latents. With F = f² ("even"), f² = A s² + b. Where f is also continuous and one-to-one, b = 0 and A is a scaled
    permutation: some f_i must tell the sign of each s_j, and f_i changes its own only where it depends on s_j alone.
    ``invertible`` asks for that.

    The normaliser is never computed:

    - "flow": flow-contrastive estimation (Gao et al. 2020, arXiv:1912.00589). log p(x|u) = c(u) − E(x, u), with c
      learned, is told from a flow q by logistic regression, −log σ(log p/q) on data and −log σ(log q/p) on the flow's
      draws. The second phase of each step trains the flow by maximum likelihood, where Gao et al. let it play against
      the model; a game that gives the same answer and need not settle.
    - "score": denoising score matching (Vincent 2011) given u: with x̃ = x + σ ε, ½ ‖ε − σ ∇E(x̃, u)‖². The energy is
      that of the data with noise of σ.
    - "classes": the conditional likelihood of the labels u under the same energy, p(u|x) = softmax_u(c_u − E(x, u)), in
      which normalisers are constants c_u and what the classes share cancels. It is neither a density of x nor drawn
      from; estimates are a classifier's, stable and cheap.

    Args:
        shape: of one sample.
        latent_dim: number of features k.
        segments: number of values of u, where u are labels; the data tell ``trimkit train``.
        aux_dim: number of entries of u, where u are vectors; the data tell ``trimkit train``.
        estimation: "flow", "score" or "classes", which needs labels.
        form: F: "plain", "positive", "squared" or "even".
        invertible: weight of a decoder's error with "classes", Σ_j (x_j − x̂_j)² beside the mean variance of the x_j,
            x̂ = D(f(x)); 0 for no decoder.
        whitened: let f see white data, K (x − μ) with K (p, p) measured before the first step.
        activation: between the layers of f, and of D: "leaky_tanh", tanh(x) + .1 x, or "leaky_relu".
        noise: σ of "score", in data units.
        flow_layers: couplings of the flow.
        flow_hidden: width of its networks.
        hidden: width of f's network, and of g's where u are vectors.
        layers: their linear layers.
        learning_rate: of Adam, for energy and flow.
        rate: factor of the learning rates over the steps: a number, or text such as "cosine(1, 0, 20000)".

    Raises:
        OptionError: an option out of range, or nothing said of u.
    """

    why = "an energy says how likely x is, and gives no x for a code"

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 5,
        *,
        segments: int = 0,
        aux_dim: int = 0,
        estimation: Estimation = "flow",
        form: Form = "squared",
        invertible: float = 0.3,
        whitened: bool = False,
        activation: Activation = "leaky_tanh",
        noise: float = 0.1,
        flow_layers: int = 4,
        flow_hidden: int = 32,
        hidden: int = 100,
        layers: int = 3,
        learning_rate: float = 3e-3,
        rate: Weight = 1.0,
    ) -> None:
        super().__init__(shape, latent_dim, segments, aux_dim)
        self.aux_dim = aux_dim
        self.estimation: Estimation = estimation
        self.form: Form = form
        self.invertible, self.whitened, self.noise = invertible, whitened, noise
        self.activation: Activation = activation
        self.flow_layers, self.flow_hidden = flow_layers, flow_hidden
        self.hidden, self.layers = hidden, layers
        self.learning_rate, self.rate = learning_rate, rate
        self._require_options()
        whole_number("", hidden=hidden, layers=layers, flow_layers=flow_layers, flow_hidden=flow_hidden)
        widths = {"hidden": hidden, "layers": layers if aux_dim else 1}
        shaped: dict[str, Any] = {"hidden": hidden, "layers": layers, "activation": activation}
        self.network = mlp(self.size, latent_dim, **shaped)
        entries = latent_dim * (2 if form == "squared" else 1)
        self.g = FunctionOfAux(self.auxiliary, entries, **widths)
        if estimation != "score":
            self.normaliser = FunctionOfAux(self.auxiliary, 1, **widths)
        if estimation == "flow":
            self.flow = CouplingFlow(self.size, layers=flow_layers, hidden=flow_hidden)
        if estimation == "classes" and invertible:
            self.decoder = mlp(latent_dim, self.size, **shaped)
            self.register_buffer("spread", torch.ones(()))
            self.spread: Tensor
        if whitened:
            self.register_buffer("origin", torch.zeros(self.size))
            self.register_buffer("whitener", torch.eye(self.size))
            self.origin: Tensor
            self.whitener: Tensor

    def prepare(self, x: Tensor, aux: Tensor | None, generator: torch.Generator) -> None:
        """Measure what ``invertible`` and ``whitened`` need of the training data, (N, *shape).

        Raises:
            DataError: data that are all alike.
        """
        if self.estimation == "classes" and self.invertible:
            variance = x.flatten(1).double().var(0, correction=0).mean()
            if not variance > 0:
                raise DataError(
                    "ICEBeeM: expected data that vary, got samples that are all alike; they tell no classes"
                )
            self.spread.copy_(variance.clamp_min(torch.finfo(torch.float32).tiny))
        if self.whitened:
            whitening = whiten(x.flatten(1))
            self.origin.copy_(whitening.mean)
            self.whitener.zero_()[: len(whitening.forward)].copy_(whitening.forward)

    def features(self, x: Tensor) -> Tensor:
        """f(x): (N, *shape) → (N, k); |MLP(x)| where it is to be positive."""
        x = x.flatten(1)
        f = at_least_float32(self.network((x - self.origin) @ self.whitener.T if self.whitened else x))
        return f.abs() if self.form == "positive" else f

    def energy(self, x: Tensor, u: Tensor) -> Tensor:
        """E(x, u) = F(x)ᵀ g(u): (N, *shape) and u → (N,)."""
        return (self.statistics(self.features(x)) * self.g(u)).sum(1)

    def statistics(self, f: Tensor) -> Tensor:
        """F: [f, f²], f² or f, (N, k) → (N, 2k) or (N, k)."""
        if self.form == "squared":
            return torch.cat([f, f.square()], 1)
        return f.square() if self.form == "even" else f

    def phases(self) -> Sequence[Phase]:
        """The energy, and with "flow" the flow after it."""
        every = list(self.parameters())
        common = {"optimiser": adam(self.learning_rate), "rate": as_schedule(self.rate)}
        if self.estimation == "score":
            return [Phase("energy", every, self.match_score, {"score": 1.0}, **common)]
        if self.estimation == "classes":
            weights = {"classes": 1.0} | ({"inverse": self.invertible} if self.invertible else {})
            return [Phase("energy", every, self.classify, weights, **common)]
        flow = list(self.flow.parameters())
        own = {id(parameter) for parameter in flow}
        energy = [parameter for parameter in every if id(parameter) not in own]
        return [
            Phase("energy", energy, self.contrast, {"contrast": 1.0}, **common),
            Phase("flow", flow, self.fit_flow, {"flow": 1.0}, **common),
        ]

    def contrast(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """Term contrast = −log σ(r(x, u)) − log σ(−r(x̃, u)), (N,) nats, with r = log p(x|u)/q(x) and x̃ ~ q.

        At r = 0, where the flow is as good as the model, it is 2 log 2.

        Args:
            batch: of N samples with their u.
            generator: of the flow's draws, one for each sample and with its u.
            step: unused.
        """
        u = self.auxiliary.needed(batch.aux, "in every batch")
        x = at_least_float32(batch.x.flatten(1))
        with torch.no_grad():
            drawn = self.flow.sample(x, generator)
        real, false = self.log_ratio(x, u), self.log_ratio(drawn, u)
        hits = 0.5 * ((real > 0).to(x.dtype) + (false < 0).to(x.dtype))
        return StepResult({"contrast": Term(softplus(-real) + softplus(false))}, diagnostics={"accuracy": hits.mean()})

    def log_ratio(self, x: Tensor, u: Tensor) -> Tensor:
        """r = c(u) − E(x, u) − log q(x): (N, p) and u → (N,), with no gradient for the flow."""
        with torch.no_grad():
            log_q = self.flow.log_prob(x)
        return self.normaliser(u)[:, 0] - self.energy(x, u) - log_q

    def fit_flow(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """Term flow = −log q(x), (N,) nats.

        Args:
            batch: of N samples.
            generator: unused.
            step: unused.
        """
        return StepResult({"flow": Term(-self.flow.log_prob(at_least_float32(batch.x.flatten(1))))})

    def classify(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """Terms classes = −log p(u|x), (N,) nats, and inverse, (N,): see ``invertible``.

        Args:
            batch: of N samples with their labels u.
            generator: unused.
            step: unused.
        """
        u, x = self.auxiliary.needed(batch.aux, "in every batch"), at_least_float32(batch.x.flatten(1))
        f = self.features(batch.x)
        logits = self.logits(f)
        terms = {"classes": Term(cross_entropy(logits, u, reduction="none"))}
        if self.invertible:
            terms["inverse"] = Term((self.decoder(f) - x).square().sum(1) / self.spread)
        return StepResult(terms, diagnostics={"accuracy": accuracy(logits, u)})

    def logits(self, f: Tensor) -> Tensor:
        """log p(u|x) up to a constant of each row, c_u − F(x)ᵀ g(u) for every label u: (N, k) → (N, segments)."""
        every = torch.arange(self.segments, device=f.device)
        return self.normaliser(every)[:, 0] - self.statistics(f) @ self.g(every).T

    def match_score(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """Term score = ½ ‖ε − σ ∇E(x + σ ε, u)‖², (N,).

        Args:
            batch: of N samples with their u.
            generator: of the noise ε.
            step: unused.
        """
        u = self.auxiliary.needed(batch.aux, "in every batch")
        x = at_least_float32(batch.x)
        noise = standard_normal(x, generator)
        with torch.enable_grad():
            disturbed = (x + self.noise * noise).detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.energy(disturbed, u).sum(), disturbed, create_graph=True)
        return StepResult({"score": Term(0.5 * (noise - self.noise * slope).square().flatten(1).sum(1))})

    def _require_options(self) -> None:
        choices = {"estimation": ESTIMATIONS, "form": FORMS, "activation": ACTIVATIONS}
        for option, names in choices.items():
            if (given := getattr(self, option)) not in names:
                raise OptionError(f"there is no {option} {given!r}. {nearest(given, names)}")
        if not self.noise > 0:
            raise OptionError(f"expected noise > 0, got {self.noise}")
        if not (math.isfinite(self.invertible) and self.invertible >= 0):
            raise OptionError(f"expected invertible ≥ 0, got {self.invertible}")
        if self.estimation == "classes" and self.aux_dim:
            raise OptionError(
                f"estimation 'classes' needs labels u, got vectors of aux_dim={self.aux_dim}; use 'flow' or 'score'"
            )
