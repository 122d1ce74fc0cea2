"""InfoGAN: min_{G,Q} max_D V(D, G) − λ L_I(G, Q), with L_I = E_{c, x~G(z,c)}[log Q(c|x)] + H(c) ≤ I(c; G(z, c))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import (
    Batch,
    LatentSpace,
    Method,
    Phase,
    Posterior,
    Schedule,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    at_least_float32,
    gather,
    standard_normal,
)
from trimkit_gan.codes import CodeLayout, CodePosterior, batch_information
from trimkit_gan.convolutional import SLOPE, Output, PlainChoice, check_range, make_output, make_plain
from trimkit_gan.options import require_counts, require_positive, require_weights
from trimkit_gan.views import view

Recogniser: TypeAlias = Literal["shared", "head", "own"]
"""What of Q learns from the codes: the trunk that it shares with D, its head alone, or a trunk of its own."""

BETAS = (0.5, 0.999)
"""Of every Adam (Chen et al. 2016, appendix C, after Radford et al. 2015)."""

HEAD = 128
"""Width of Q's hidden layer (Chen et al. 2016, appendix C)."""

NO_DECODE = (
    "Q(c|x) says nothing of the noise z, which the generator needs beside c; make the method with codes_alone=True to "
    "decode c with z at its mean, or decode [z, c] in the space 'z'"
)
NO_ENCODE = "no network infers the noise z of an image; encode in the space 'c'"


class InfoGAN(Method):
    """Information maximising GAN (Chen et al. 2016, arXiv:1606.03657).

    Two phases a step: "discriminator" minimises softplus(−D(x)) + softplus(D(G(z, c))), "generator" minimises
    softplus(−D(G(z, c))), and both add −λ L_I, as the authors' code does, where it reaches parameters of theirs:

    =================  ==============================  =====================
    ``recogniser``     discriminator phase trains      generator phase trains
    =================  ==============================  =====================
    "shared" (paper)   trunk, D, Q by both losses      G by both losses
    "head"             trunk, D by the first           G, Q's head by both
    "own"              trunk, D by the first           G, Q and its trunk
    =================  ==============================  =====================

    A predictor f joins the generator phase: TRIM terms at the drawn codes, and, with prediction="label", the
    cross-entropy of f(G(z, c)) with the first categorical code, whose values then mean f's classes.

    Spaces: ``c`` (categorical codes as probabilities, then continuous ones) is encoded to by Q; ``z`` is the whole
    input [noise, c] of the generator.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        noise_dim: number of incompressible noise variables z ~ N(0, 1), at least 1.
        categories: number of values of each categorical code, uniform.
        continuous: number of continuous codes, uniform on [−1, 1].
        network: "conv" for square images of 8, 16, 32 or 64 pixels, "mlp" for data of any shape; or a function
            (shape, inputs) → (generator, trunk), as pkg.mod:function.
        recogniser: "shared", "head" or "own", see above.
        category_weight: λ of the categorical codes, ≥ 0, or a schedule.
        continuous_weight: λ of the continuous codes, ≥ 0, or a schedule. The two kinds of codes compete for a generator
            that collapses early: where λ is large at once, the continuous ones may be all that it shows; where it stays
            at .1, they may never be shown. "linear(0, 0.5, 1000)" lets the categories come first.
        recogniser_noise: σ of noise on the images that Q learns to read categorical codes off, in data units; 0 as
            published. With it, they must be told by coarse differences, which more often are those of classes.
        recogniser_distortion: strength of small random turns, shifts and the like of those images
            (`trimkit_gan.views.distort`); 0 as published. With it, categorical codes are told by what survives them.
        data_weight: of two terms on *data*, which Q sees nothing of where it is 0, as published; or a schedule. Q then
            maximises H(mean of Q(c|x)) − mean of H(Q(c|x)), the information between categorical codes and data (Krause
            et al. 2010), and reads noisy and distorted data as it reads the data themselves (Hu et al. 2017).
        output: "sigmoid" for data in [0, 1], "tanh" for [−1, 1], "linear" for any.
        codes_alone: decode codes c with the noise at its mean, z = 0, so that c is a transform; what z said of an image
            is then left to the residual.
        learning_rate: of the generator phase's Adam.
        discriminator_learning_rate: of the discriminator phase's Adam.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        noise_dim: int = 62,
        categories: tuple[int, ...] = (10,),
        continuous: int = 2,
        *,
        network: PlainChoice = "conv",
        recogniser: Recogniser = "shared",
        category_weight: Weight = 1.0,
        continuous_weight: Weight = 0.1,
        recogniser_noise: float = 0.0,
        recogniser_distortion: float = 0.0,
        data_weight: Weight = 0.0,
        output: Output = "sigmoid",
        codes_alone: bool = False,
        learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 2e-4,
    ) -> None:
        super().__init__(shape)
        self.noise_dim = noise_dim
        self.categories = tuple(categories)
        self.continuous = continuous
        self.network = network
        self.recogniser = recogniser
        self.category_weight = category_weight
        self.continuous_weight = continuous_weight
        self.recogniser_noise = recogniser_noise
        self.recogniser_distortion = recogniser_distortion
        self.data_weight = data_weight
        self.output: Output = output
        self.codes_alone = codes_alone
        self.learning_rate = learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.codes = CodeLayout(self.categories, continuous)
        self._check_options()
        self._make_networks()

    def _check_options(self) -> None:
        require_counts(self, "noise_dim")
        if self.recogniser not in get_args(Recogniser):
            raise OptionError(f"expected recogniser as one of {get_args(Recogniser)}, got {self.recogniser!r}")
        of_categories = ("recogniser_noise", "recogniser_distortion", "data_weight")
        require_positive(self, "learning_rate", "discriminator_learning_rate")
        require_weights(self, "category_weight", "continuous_weight", *of_categories)
        for name in of_categories:
            if not self.categories and as_schedule(getattr(self, name)) != 0:
                raise OptionError(f"{name} is for categorical codes: give categories such as (10,), or leave it at 0")
        if self.recogniser_distortion and len(self.shape) != 3:
            raise OptionError(f"recogniser_distortion is for images (C, H, W), not {self.shape}; leave it at 0")

    @property
    def drawn_classes(self) -> int:
        """Values of the first categorical code."""
        return self.categories[0] if self.categories else 0

    @property
    def uses_data(self) -> bool:
        """True where Q learns from data too."""
        return as_schedule(self.data_weight) != 0

    def _make_networks(self) -> None:
        make = partial(make_plain, self.network, self.shape, self.noise_dim + self.codes.size)
        plain = make()
        self.generator = nn.Sequential(plain.generator, make_output(self.output))
        self.trunk = plain.trunk
        self.discriminator = nn.Linear(plain.features, 1)
        self.q_trunk = make().trunk if self.recogniser == "own" else None
        self.q_head = nn.Sequential(
            nn.Linear(plain.features, HEAD), nn.LeakyReLU(SLOPE), nn.Linear(HEAD, self.codes.outputs)
        )

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """``c`` (encoded to, decoded on request) and ``z`` (the generator's input, decoded only)."""
        c, alone = self.codes, self.codes_alone
        reason = "" if alone else NO_DECODE
        size = self.noise_dim + c.size
        return [
            LatentSpace("c", (c.size,), c.groups(), can_decode=alone, stochastic=True, reason=reason),
            LatentSpace("z", (size,), c.groups(self.noise_dim), can_encode=False, reason=NO_ENCODE),
        ]

    def posterior(self, x: Tensor, features: Tensor | None = None) -> CodePosterior:
        """Q(c|x), in float32 or better.

        Args:
            x: (N, *shape).
            features: of the trunk for these x, where they are known already.
        """
        if self.q_trunk is not None:
            features = self.q_trunk(x)
        elif features is None:
            features = self.trunk(x)
        return CodePosterior.of(at_least_float32(self.q_head(features)), self.codes)

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """Q(c|x): (N, *shape) → posterior over (N, c).

        Raises:
            OptionError: the space z, whose noise no network infers.
        """
        if self.space(space).name != "c":
            raise OptionError(f"InfoGAN: {NO_ENCODE}")
        return self.posterior(x)

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """G(z, c).

        Args:
            z: (N, noise_dim + c) noise and codes for the space z; (N, c) codes for c, where ``codes_alone`` is set.
            space: "c" or "z"; None for c.
        Returns:
            (N, *shape) in data units.
        Raises:
            OptionError: codes without noise, see ``codes_alone``.
            ShapeError: codes of another size.
        """
        chosen = self.space(space)
        if not chosen.can_decode:
            raise OptionError(f"InfoGAN: {NO_DECODE}")
        if z.ndim != 2 or z.shape[1:] != chosen.shape:
            raise ShapeError(f"InfoGAN: expected codes (N, {chosen.shape[0]}) of {chosen.name!r}, got {tuple(z.shape)}")
        return self.generator(z if chosen.name == "z" else torch.cat([z.new_zeros(len(z), self.noise_dim), z], dim=1))

    def baseline(self, space: str | None = None) -> Tensor:
        """The prior's mean: no noise, every category as likely, continuous codes in their middle."""
        weight = next(self.parameters())
        c = torch.cat([weight.new_full((1, size), 1 / size) for size in self.categories] or [weight.new_empty(1, 0)], 1)
        c = torch.cat([c, weight.new_zeros(1, self.continuous)], dim=1)
        return c if self.space(space).name == "c" else torch.cat([weight.new_zeros(1, self.noise_dim), c], dim=1)

    def draw(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[noise, c] from the prior: (N, noise_dim + c), of the type and device of ``like`` (N, ...)."""
        noise = standard_normal(like.new_empty(len(like), self.noise_dim), generator)
        return torch.cat([noise, self.codes.draw(like, generator)], dim=1)

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """G(z, c) for n draws of noise and codes: (n, *shape)."""
        weight = next(self.parameters())
        return self.generator(self.draw(weight.new_empty(n, 1), generator))

    def sample_codes(self, n: int, generator: torch.Generator | None = None, space: str | None = None) -> Tensor:
        """Draws of [noise, c], or of c alone: (n, *shape of the space)."""
        z = self.draw(next(self.parameters()).new_empty(n, 1), generator)
        return z if self.space(space).name == "z" else z[:, self.noise_dim :]

    def check(self, x: Tensor) -> None:
        """As every method, and data in the output's range."""
        super().check(x)
        check_range(x, self.output)

    def phases(self) -> Sequence[Phase]:
        """The discriminator, then the generator."""
        trained, (first, second) = self.phase_parameters(), self._phase_weights()
        slow, fast = adam(self.discriminator_learning_rate, BETAS), adam(self.learning_rate, BETAS)
        critic, maker = trained["discriminator"], trained["generator"]
        return [
            Phase("discriminator", critic, self.discriminate, first, slow),
            Phase("generator", maker, self.generate, second, fast, trains_decoder=True, generates=True),
        ]

    def phase_parameters(self) -> Mapping[str, list[nn.Parameter]]:
        """Name of each phase → what it trains, by the arrangement of Q."""
        q = [*self.q_head.parameters(), *(self.q_trunk.parameters() if self.q_trunk is not None else ())]
        critic = [*self.trunk.parameters(), *self.discriminator.parameters()]
        generator = list(self.generator.parameters())
        shared = self.recogniser == "shared"
        return {"discriminator": critic + q * shared, "generator": generator + q * (not shared)}

    def _phase_weights(self) -> tuple[dict[str, Schedule], dict[str, Schedule]]:
        codes = {"category": self.category_weight} if self.categories else {}
        codes |= {"continuous": self.continuous_weight} if self.continuous else {}
        information = {name: as_schedule(weight) for name, weight in codes.items()}
        names = ("data_information", "data_consistency") if self.uses_data else ()
        data = dict.fromkeys(names, as_schedule(self.data_weight))
        if self.recogniser == "shared":
            return {"discriminator": 1.0, **information, **data}, {"generator": 1.0, **information}
        return {"discriminator": 1.0}, {"generator": 1.0, **information, **data}

    def discriminate(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """softplus(−D(x)) + softplus(D(G(z, c))), (N,) nats, and with a shared trunk −log Q(c|G(z, c))."""
        z = self.draw(batch.x, generator)
        real, made = self.trunk(batch.x), self.trunk(fake := self.generator(z))
        logits = [at_least_float32(self.discriminator(features))[:, 0] for features in (real, made)]
        terms = {"discriminator": Term(softplus(-logits[0]) + softplus(logits[1]))}
        if self.recogniser == "shared":
            terms |= self._information(self._recognise(fake, made, generator), z)[0]
            terms |= self._terms_of_data(batch.x, generator)
        return StepResult(terms, diagnostics={"logits": torch.stack(logits, 1).detach().mean(0)})

    def generate(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """softplus(−D(G(z, c))) and −log Q(c|G(z, c)) of categorical and of continuous codes, each (N,) nats.

        The bound L_I of each code, (codes,) nats, is logged as "information": at most its entropy log K for a
        categorical code, and saturated long before the codes mean anything to a person.
        """
        z = self.draw(batch.x, generator)
        fake = self.generator(z)
        features = self.trunk(fake)
        terms, information = self._information(self._recognise(fake, features, generator), z)
        if self.recogniser != "shared":
            terms |= self._terms_of_data(batch.x, generator)
        logits = at_least_float32(self.discriminator(features))[:, 0]
        c = z[:, self.noise_dim :]
        labels = self.codes.split(c)[0][0].argmax(1) if self.categories else None
        codes = {"c": c, "z": z}
        terms = {"generator": Term(softplus(-logits)), **terms}
        return StepResult(terms, fake, {"information": information}, codes=codes, labels=labels)

    def _view(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """With noise and distortion; x itself where there is neither."""
        return view(x, self.recogniser_noise, self.recogniser_distortion, generator)

    def _recognise(self, x: Tensor, features: Tensor, generator: torch.Generator) -> CodePosterior:
        """Q as it is trained: categorical codes read off a view of x, continuous ones off x itself.

        What a view changes, such as a small turn, is what continuous codes are for: read off the view, they would have
        little left to say.
        """
        plain = self.posterior(x, features)
        if (seen := self._view(x, generator)) is x:
            return plain
        return replace(plain, log_probabilities=self.posterior(seen).log_probabilities)

    def _terms_of_data(self, x: Tensor, generator: torch.Generator) -> dict[str, Term]:
        """What Q learns from data, summed over categorical codes, in nats; nothing where it is not used.

        −[H(mean of Q(c|x′)) − mean of H(Q(c|x′))], a statistic of the batch, and −Σ_c Q(c|x) log Q(c|x′), (N,), with
        Q(c|x) fixed; x′ are the data with noise and distortion.
        """
        if not self.uses_data:
            return {}
        seen = self.posterior(self._view(x, generator)).log_probabilities
        with torch.no_grad():
            clean = [log_p.exp() for log_p in self.posterior(x).log_probabilities]
        information = torch.stack([batch_information(gather(log_p)) for log_p in seen]).sum()
        consistency = torch.stack([-(p * log_p).sum(1) for p, log_p in zip(clean, seen, strict=True)]).sum(0)
        return {"data_information": Term(-information), "data_consistency": Term(consistency)}

    def _information(self, posterior: CodePosterior, z: Tensor) -> tuple[dict[str, Term], Tensor]:
        """−log Q(c|x) by kind of code, and the bound E log Q(c|x) + H(c) of each code, (codes,) nats."""
        log_q = posterior.log_prob_per_code(z[:, self.noise_dim :])
        cut = len(self.categories)
        terms = {"category": Term(-log_q[:, :cut].sum(1))} if cut else {}
        terms |= {"continuous": Term(-log_q[:, cut:].sum(1))} if self.continuous else {}
        bound = log_q.detach().mean(0) + self.codes.entropies().to(log_q)
        return terms, bound
