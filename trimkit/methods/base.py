"""What a generative method is: data ⇄ named latent spaces, trained by phases or in closed form.

A plugin's method looks like this; `trimkit.train` trains it, and every TRIM penalty, prediction loss and audit works in
its latent spaces because each of them is a transform (`Method.as_transform`):

    class PCA(Method):
        def __init__(self, shape: tuple[int, ...], components: int = 8) -> None:
            super().__init__(shape)
            self.components = components  # every argument is kept under its own name
            self.register_buffer("basis", torch.zeros(components, math.prod(shape)))

        def latent_spaces(self) -> Sequence[LatentSpace]:
            return [LatentSpace("z", (self.components,))]

        def encode(self, x, aux=None, space=None) -> Posterior:
            return Delta(x.flatten(1) @ self.basis.T)

        def decode(self, z, space=None) -> Tensor:
            return (z @ self.basis).unflatten(1, self.shape)

        def fit(self, x, aux=None) -> None:
            self.basis.copy_(torch.linalg.svd(x.flatten(1), full_matrices=False).Vh[: self.components])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trimkit.errors import DataError, OptionError, ShapeError, TrainingError, UnknownNameError, nearest
from trimkit.methods.condition import Condition, Given
from trimkit.methods.latent import LatentSpace, LatentTransform
from trimkit.methods.phases import Phase
from trimkit.methods.posteriors import Posterior, standard_normal
from trimkit.registry.calling import signature_of

if TYPE_CHECKING:
    from trimkit.data import Dataset
    from trimkit.metrics import MetricResult


class Method(nn.Module, ABC):
    """A generative method: a transform that is learned.

    A subclass writes `latent_spaces`, `encode`, `decode`, and how it is trained: `phases`, or `fit` in closed form.
    Its constructor takes ``shape``, which ``trimkit train`` fills in from the data, and keeps every argument in an
    attribute of the same name (see `options`); everything that changes in training is a parameter or a saved buffer.

    Args:
        shape: of one sample of data: (C, H, W), (C, L) or (F,).

    Attributes:
        shape: as given.
        condition: what auxiliary variables its networks see; None where they see none.
    """

    condition: Condition | None = None

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(int(n) for n in shape)
        if not self.shape or min(self.shape) < 1:
            raise ShapeError(
                f"{type(self).__name__}: expected the shape of one sample, such as (1, 16, 16), got {shape}"
            )

    @abstractmethod
    def latent_spaces(self) -> Sequence[LatentSpace]:
        """The method's spaces, the usual one first."""

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """q(z|x).

        Args:
            x: (N, *shape) data.
            aux: (N, ...) auxiliary variables, where the space needs them.
            space: of the codes; None for the first.
        Returns:
            Posterior over (N, *space.shape).
        """
        raise TrainingError(f"{type(self).__name__} has no encoder")

    def decode(self, z: Tensor, space: str | None = None, aux: Tensor | None = None) -> Tensor:
        """The data that codes stand for.

        Args:
            z: (N, *space.shape) codes.
            space: of the codes; None for the first.
            aux: (N, ...) auxiliary variables, where decoding needs them; else it is not given, and may be left out of
                the signature.
        Returns:
            (N, *shape) in data units: the mean of p(x|z), not its logits.
        """
        raise TrainingError(f"{type(self).__name__} has no decoder")

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """New data.

        Args:
            n: how many.
            generator: source of randomness.
            aux: (n, ...) auxiliary variables, where the method needs them.
        Returns:
            (n, *shape) in data units.
        """
        raise TrainingError(f"{type(self).__name__} has no prior to sample from")

    def sample_codes(
        self,
        n: int,
        generator: torch.Generator | None = None,
        space: str | None = None,
        aux: Tensor | None = None,
    ) -> Tensor:
        """Codes of new data: draws from N(0, I) of a space that says so (`LatentSpace.gaussian`); override for others.

        Args:
            n: how many.
            generator: source of randomness.
            space: None for the first.
            aux: (n, ...) auxiliary variables, where codes depend on them; else it is not given, and may be left out of
                the signature.
        Returns:
            (n, *space.shape).
        Raises:
            TrainingError: there is no prior over the space.
        """
        chosen = self.space(space)
        if not chosen.gaussian:
            raise TrainingError(f"{type(self).__name__} draws no codes of the space {chosen.name!r}")
        return standard_normal(self.place_input(torch.empty(n, *chosen.shape)), generator)

    def baseline(self, space: str | None = None) -> Tensor | None:
        """The code that stands for nothing in particular, from which attributions are measured.

        Args:
            space: None for the first.
        Returns:
            (1, *space.shape), or None for zeros.
        """
        return None

    @property
    def drawn_classes(self) -> int:
        """How many classes generated samples may be drawn to be, see `StepResult.labels`; 0 where there are none."""
        return 0

    def phases(self) -> Sequence[Phase]:
        """How it is trained, in the order in which phases take their turns; empty for closed-form methods."""
        return ()

    def fit(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Train in closed form, on all data at once.

        Args:
            x: (N, *shape).
            aux: (N, ...) auxiliary variables, where the method needs them.
        """
        raise TrainingError(f"{type(self).__name__} has no closed form: train it with trimkit.train(method, data)")

    def prepare(self, x: Tensor, aux: Tensor | None, generator: torch.Generator) -> None:
        """Take from the data what the phases start from, such as a whitening; into buffers and parameters, in place.

        Called once, in eval mode, before the first step of every run. Where a run goes on from a checkpoint, the
        checkpoint's state then replaces what is written here.

        Args:
            x: (N, *shape) training data; a fixed random choice of 65,536 where there are more.
            aux: (N, ...) auxiliary variables of those samples, or None.
            generator: source of randomness, on x's device.
        """

    def finish(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Derive from the trained networks what no phase trains, such as a rotation of features; in buffers.

        Called once, in eval mode, after the last step and before the evaluation. A run that goes on later starts from
        the state before it, so the phases must not depend on what is written here.

        Args:
            x: (N, *shape) training data; a fixed random choice of 65,536 where there are more.
            aux: (N, ...) auxiliary variables of those samples, or None.
        """

    def unfinished(self) -> str:
        """What a training that ended here has not come to, such as a resolution: a warning says so. Empty: nothing."""
        return ""

    def exhibits(self) -> Mapping[str, Mapping[str, Tensor]]:
        """What a run draws of the trained method beside reconstructions and traversals, such as its components.

        Returns:
            Name of a picture → label → sample (*shape), which is drawn as data are: images from 0 (black) to 1 (white).
        """
        return {}

    def measure(
        self, data: Dataset, train: Dataset, *, seed: int = 0, baselines: bool = False
    ) -> Mapping[str, Mapping[str, MetricResult]]:
        """Metrics of its own kind, for methods that those of disentanglement do not fit; override to bring some.

        Called in eval mode, without gradients, by `trimkit.evaluate`, which then computes no others.

        Args:
            data: that the method is judged on.
            train: what baselines are fitted to.
            seed: of every draw.
            baselines: also of codes that cost nothing.
        Returns:
            Name of codes → metric → result: the method's own codes first, then the baselines'.
        """
        raise TrainingError(f"{type(self).__name__} brings no metrics of its own")

    def check(self, x: Tensor) -> None:
        """Refuse data that the method cannot model; override to add conditions such as a range.

        Args:
            x: (N, ...) all training data; some of them where samples are made when asked for (`trimkit.data.few`).
        Raises:
            ShapeError: not (N, *shape), or not floating.
            DataError: empty, or NaN or infinity among the values.
        """
        if not x.is_floating_point() or tuple(x.shape[1:]) != self.shape:
            raise ShapeError(
                f"{type(self).__name__} was made for floating data of shape {self.shape} a sample, got {x.dtype} "
                f"{tuple(x.shape[1:])}; make it anew with shape={tuple(x.shape[1:])}"
            )
        if not len(x):
            raise DataError("expected at least one sample, got empty data")
        if not bool(torch.isfinite(x).all()):
            raise DataError("expected finite data, got NaN or infinity; clean the data before training")

    def place_input(self, x: Tensor) -> Tensor:
        """Samples on the method's device, and in the type of its parameters; as they are where it has none.

        Args:
            x: (N, ...) floating.
        """
        like = next((p for p in self.parameters() if p.is_floating_point()), x)
        return x.to(next(self.buffers(), x).device if like is x else like.device, like.dtype)

    def check_aux(self, aux: Tensor | None) -> None:
        """Refuse auxiliary variables that do not fit the method's condition, where it has one.

        Args:
            aux: (N, ...) of all training data, or None where they have none.
        Raises:
            DataError: missing, or not what the method was made for.
        """
        if self.condition is not None:
            self.condition.check(aux)

    def space(self, name: str | None = None) -> LatentSpace:
        """A latent space by name; the first for None.

        Raises:
            UnknownNameError: the method has no such space.
        """
        spaces = {space.name: space for space in self.latent_spaces()}
        if name is None:
            return next(iter(spaces.values()))
        if name not in spaces:
            raise UnknownNameError(f"{type(self).__name__} has no latent space {name!r}. {nearest(name, spaces)}")
        return spaces[name]

    def as_transform(self, space: str | None = None, *, aux: Given | None = None) -> LatentTransform:
        """The latent space as a transform: forward = encode(x).mean, inverse = decode, groups = the units.

        It shares this method's weights, so a penalty on it trains them.

        Args:
            space: name; the first for None.
            aux: of conditional methods: held fixed beside the codes, and explained by nothing. A class or vector for
                all samples, or (N, ...) of the N samples that are explained.
        Raises:
            TransformError: the space cannot be encoded to, cannot be decoded, or needs auxiliary variables.
            OptionError: auxiliary variables for a method that sees none.
            DataError: those of another kind.
        """
        if aux is None:
            return LatentTransform(self, self.space(space))
        if self.condition is None:
            raise OptionError(f"{type(self).__name__} sees no auxiliary variables: leave out aux")
        return LatentTransform(self, self.space(space), self.condition.rows(aux))

    @property
    def options(self) -> dict[str, Any]:
        """The constructor's arguments, read from the attributes of the same names, as scikit-learn does.

        Raises:
            OptionError: an argument that was not kept.
        """
        signature = signature_of(type(self))
        names = [name for name in signature.parameters if name not in ("args", "kwargs")] if signature else []
        lost = [name for name in names if not hasattr(self, name)]
        if lost:
            raise OptionError(f"{type(self).__name__} must keep its argument {lost[0]!r} as self.{lost[0]}")
        return {name: getattr(self, name) for name in names}
