"""A plugin of parts with one fault each, and of the parts without fault that they are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trimkit.attributions import Attribution
from trimkit.audit import Check, Status
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.data import Dataset
from trimkit.errors import DataError
from trimkit.hooks import KINDS, CheckSpec, DatasetSpec, hookimpl
from trimkit.methods import Delta, LatentSpace, Method, Phase, StepResult, Term, adam, gather, standard_normal
from trimkit.penalties import measure, scale_invariant
from trimkit.report.verdicts import judge
from trimkit.transforms import Transform

TRIMKIT_API = 1


class Fault(NamedTuple):
    """What is wrong with a part: the promise that it breaks, and what the message says to change."""

    kind: str
    promise: str
    says: str


FAULTS: dict[str, Fault] = {}
SOUND: dict[str, str] = {}


def fault(kind: str, promise: str, says: str) -> Callable[[Any], Any]:
    def register(part: Any) -> Any:
        FAULTS[part.__name__] = Fault(kind, promise, says)
        return part

    return register


def sound(kind: str) -> Callable[[Any], Any]:
    def register(part: Any) -> Any:
        SOUND[part.__name__] = kind
        return part

    return register


# ---- transforms


@sound("transform")
class Doubling(Transform):
    """s = 2 (x − m) with the mean m of the data it is fitted to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def fit(self, x):
        self.mean.copy_(x.mean())
        return self

    def forward(self, x):
        return 2 * (x - self.mean)

    def inverse(self, s, size=None):
        return s / 2 + self.mean

    def groups(self, size):
        labels = torch.zeros(size, dtype=torch.long)
        labels[..., size[-1] // 2 :] = 1
        return Groups(("left", "right"), labels, "position")


@fault("transform", "facts", "measured: False; mend the class")
class FalselyComplex(Doubling):
    """Real coefficients, said to be complex."""

    complex_coefficients = True


@fault("transform", "round_trip", "mend inverse, or set exact = False")
class InverseOffByTwo(Doubling):
    """Half of the data come back, and exact says all."""

    def inverse(self, s, size=None):
        return s / 4 + self.mean


@fault("transform", "groups", "share a name.*rename one")
class OverlappingGroups(Doubling):
    """Two groups of one name."""

    def groups(self, size):
        return Groups(("left", "left"), super().groups(size).labels, "position")


@fault("transform", "groups", "labels have the shapes .* make them alike")
class GroupsOfAnotherSize(Doubling):
    """One label is missing."""

    def groups(self, size):
        return super().groups((*size[:-1], size[-1] - 1))


@fault("transform", "groups", "count from 0")
class GroupsFromOne(Doubling):
    """Labels 1 and 2 for two names."""

    def groups(self, size):
        left = super().groups(size)
        return Groups(left.names, left.labels + 1, "position")


@fault("transform", "batch_independence", "no batch statistics")
class CentredByTheBatch(Doubling):
    """Whitening over whatever samples come together."""

    exact = False

    def forward(self, x):
        return x - x.mean(0)


@fault("transform", "first_derivatives", "without detach")
class Detaching(Doubling):
    """A forward that is cut from its graph."""

    def forward(self, x):
        return 2 * x - x.detach() - 2 * self.mean + x


class OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


@fault("transform", "second_derivatives", "once_differentiable")
class OnceDifferentiable(Doubling):
    """A cube whose gradient has no gradient."""

    exact = False

    def forward(self, x):
        return OnceOnly.apply(x)


@fault("transform", "dtypes", "make constants with x's dtype")
class AlwaysDouble(Doubling):
    """A constant in float64."""

    def forward(self, x):
        return super().forward(x) * torch.ones(1, dtype=torch.float64)


@fault("transform", "odd_sizes", "crop to size")
class EvenOnly(Doubling):
    """The last of an odd number of entries is lost without a word."""

    def inverse(self, s, size=None):
        return super().inverse(s)[..., : s.shape[-1] // 2 * 2]


@fault("transform", "pickling", "can't pickle|Can't pickle|Can't get")
class Unpicklable(Doubling):
    """A lambda among its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = lambda x: 2 * x


@fault("transform", "state", "register_buffer what fit learns")
class FitNotSaved(Doubling):
    """What fit learned is a plain attribute."""

    def fit(self, x):
        self.learned = x.mean()
        return self

    def forward(self, x):
        return 2 * (x - self.learned)

    def inverse(self, s, size=None):
        return s / 2 + self.learned


@fault("transform", "state", "draw nothing")
class Noisy(Doubling):
    """Noise on every coefficient."""

    exact = False

    def forward(self, x):
        return x + torch.randn_like(x)


@fault("transform", "state", "work on a copy")
class WritingIntoData(Doubling):
    """The caller's data are clamped in place."""

    exact = False

    def forward(self, x):
        with torch.no_grad():
            x.clamp_(-0.1, 0.1)
        return 2 * x


# ---- attributions


@sound("attribution")
class Products(Attribution):
    """Coefficient times gradient."""

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda g, leaf: (g.conj() * leaf).real, probe.gradient(), s)


@fault("attribution", "gradient", "set differentiable = False")
class DetachedScores(Products):
    """The gradient is cut, and differentiable says it is not."""

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda g, leaf: (g.detach().conj() * leaf).real, probe.gradient(), s)


@fault("attribution", "completeness", "or set complete = False")
class FalselyComplete(Products):
    """Contributions of a linear model, said to sum up for any."""

    complete = True


@fault("attribution", "randomness", "draw from the generator it is given")
class GloballyRandom(Products):
    """Noise from the global random state."""

    stochastic = True

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda a: a + torch.rand_like(a), super().attribute(probe, s, baseline, generator))


@fault("attribution", "randomness", "set stochastic = True")
class SecretlyRandom(Products):
    """Noise from the generator, and stochastic is False."""

    def attribute(self, probe, s, baseline, generator):
        noise = torch.rand((), generator=generator)
        return tree.map_leaves(lambda a: a + noise, super().attribute(probe, s, baseline, generator))


@fault("attribution", "randomness", "set it to False")
class NeverRandom(Products):
    """It says that it draws, and draws nothing."""

    stochastic = True


@fault("attribution", "leaves_the_model", "train or eval mode are others; restore them in a finally")
class LeavingTrainMode(Products):
    """The model is in train mode afterwards."""

    def attribute(self, probe, s, baseline, generator):
        if isinstance(probe.model, nn.Module):
            probe.model.train()
        return super().attribute(probe, s, baseline, generator)


@fault("attribution", "leaves_the_model", "gradients are others")
class LeavingGradients(Products):
    """A backward pass that fills the parameters' grad."""

    def attribute(self, probe, s, baseline, generator):
        probe.output.sum().backward(retain_graph=True)
        return super().attribute(probe, s, baseline, generator)


@fault("attribution", "batch_independence", "no batch statistics")
class DividedByTheBatch(Products):
    """Scores relative to the largest of the batch."""

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda a: a / a.abs().max(), super().attribute(probe, s, baseline, generator))


@fault("attribution", "complex_and_trees", "Re.conj.g.·Δ")
class ComplexScores(Products):
    """The gradient itself, complex where coefficients are."""

    def attribute(self, probe, s, baseline, generator):
        return probe.gradient()


# ---- penalties


@sound("penalty")
def squares(scores) -> Tensor:
    """Sum of squares."""
    return tree.rows(scores).square().sum(1)


@fault("penalty", "rows", "a mean or norm over the batch")
def mixed_rows(scores) -> Tensor:
    """Sum of squares around the batch's mean."""
    rows = tree.rows(scores)
    return (rows - rows.mean(0)).square().sum(1)


@fault("penalty", "values", "reduce all axes but the first")
def one_for_all(scores) -> Tensor:
    """One number a batch."""
    return tree.rows(scores).square().mean()


@fault("penalty", "dead_rows", "has the value NaN")
def division_by_zero(scores) -> Tensor:
    """Ratio of norms, 0/0 for a row of zeros."""
    rows = tree.rows(scores)
    return rows.abs().sum(1) / rows.square().sum(1).sqrt()


@fault("penalty", "dead_rows", "torch.where before √")
def steep_at_zero(scores) -> Tensor:
    """Norm, whose slope at zeros is 0/0."""
    return tree.rows(scores).square().sum(1).sqrt()


@fault("penalty", "scale", "or leave the mark")
@scale_invariant
def falsely_invariant(scores) -> Tensor:
    """Sum of squares, said not to change with scale."""
    return tree.rows(scores).square().sum(1)


@fault("penalty", "nan_is_not_hidden", "drop nan_to_num")
def hiding_nan(scores) -> Tensor:
    """NaN becomes 0."""
    return tree.rows(scores).nan_to_num().square().sum(1)


@fault("penalty", "first_derivatives", "without detach and numpy")
def without_graph(scores) -> Tensor:
    """Values from numpy."""
    return torch.from_numpy((tree.rows(scores).detach().numpy() ** 2).sum(1))


@fault("penalty", "values", "leave .0, 1.")
@measure
def large_measure(scores) -> Tensor:
    """A measure without an upper end."""
    return tree.rows(scores).square().sum(1)


# ---- methods


@sound("method")
class Autoencoder(Method):
    """A linear autoencoder of noisy codes."""

    def __init__(self, shape: Sequence[int], width: int = 3) -> None:
        super().__init__(shape)
        self.width = width
        size = torch.Size(self.shape).numel()
        self.encoder, self.decoder = nn.Linear(size, width), nn.Linear(width, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("steps", torch.zeros(()))

    def latent_spaces(self):
        return [LatentSpace("z", (self.width,))]

    def prepare(self, x, aux, generator):
        self.mean.copy_(x.flatten(1).mean(0))

    def encode(self, x, aux=None, space=None):
        return Delta(self.encoder(x.flatten(1) - self.mean))

    def decode(self, z, space=None):
        return (self.decoder(z) + self.mean).unflatten(1, self.shape)

    def sample(self, n, generator=None, aux=None):
        return self.decode(torch.randn(n, self.width, generator=generator))

    def phases(self):
        return [Phase("both", list(self.parameters()), self.loss, {"recon": 1.0}, adam(1e-2), trains_decoder=True)]

    def loss(self, batch, generator, step):
        z = self.encode(batch.x).mean
        x_hat = self.decode(z + 0.1 * standard_normal(z, generator))
        return StepResult({"recon": Term((x_hat - batch.x).flatten(1).square().sum(1))}, x_hat)


@fault("method", "terms", r"wrap it, Term\(values\)")
class TensorsForTerms(Autoencoder):
    """Bare tensors in the result."""

    def loss(self, batch, generator, step):
        result = super().loss(batch, generator, step)
        return StepResult({"recon": result.terms["recon"].values}, result.reconstruction)


@fault("method", "terms", r"return StepResult\(terms")
class BareLoss(Autoencoder):
    """A phase that returns its loss."""

    def loss(self, batch, generator, step):
        return super().loss(batch, generator, step).terms["recon"].mean


@fault("method", "terms", "name them alike")
class UnweightedTerm(Autoencoder):
    """A term of which no weight knows."""

    def loss(self, batch, generator, step):
        result = super().loss(batch, generator, step)
        return StepResult({**result.terms, "extra": result.terms["recon"]}, result.reconstruction)


@fault("method", "terms", r"reconstruction=x_hat")
class WithoutReconstruction(Autoencoder):
    """The decoder is trained, and x̂ kept secret."""

    def loss(self, batch, generator, step):
        return StepResult(super().loss(batch, generator, step).terms)


@fault("method", "options", "must keep its argument 'width' as self.width")
class ForgettingOption(Autoencoder):
    """An argument under another name."""

    def __init__(self, shape: Sequence[int], width: int = 3) -> None:
        super().__init__(shape, width)
        del self.width

    def latent_spaces(self):
        return [LatentSpace("z", (3,))]


@fault("method", "codes", "decode gives .* expected")
class FlatData(Autoencoder):
    """One entry too few comes out of the decoder."""

    def decode(self, z, space=None):
        return super().decode(z)[..., 1:]


@fault("method", "phases_freeze", "decoder.bias, which are not its own")
class LeakyPhase(Autoencoder):
    """The encoder's phase moves the decoder by hand."""

    def phases(self):
        return [Phase("encoder", list(self.encoder.parameters()), self.loss, {"recon": 1.0}, trains_decoder=True)]

    def loss(self, batch, generator, step):
        with torch.no_grad():
            self.decoder.bias += 0.1
        return super().loss(batch, generator, step)


@fault("method", "resume", "keep what a step needs from earlier ones in buffers")
class CountingOutside(Autoencoder):
    """A count of steps that no checkpoint holds changes the loss."""

    count = 0

    def loss(self, batch, generator, step):
        self.count += 1
        x_hat = self.decode(self.encode(batch.x).mean * self.count)
        return StepResult({"recon": Term((x_hat - batch.x).flatten(1).square().sum(1))}, x_hat)


@fault("method", "state", "register what training changes as buffers")
class UnsavedMean(Autoencoder):
    """The mean of the data is a plain attribute."""

    offset = 0.0

    def prepare(self, x, aux, generator):
        self.offset = float(x.mean())

    def encode(self, x, aux=None, space=None):
        return Delta(self.encoder(x.flatten(1) - self.offset))


@fault("method", "sampling", "draw from its generator")
class SamplingGlobally(Autoencoder):
    """Samples of the global random state."""

    def sample(self, n, generator=None, aux=None):
        return self.decode(torch.randn(n, self.width))


@fault("method", "processes", r"take statistics of the batch of gather\(rows\)")
class CentredOnItsOwnRows(Autoencoder):
    """Codes are centred on the mean of the rows at hand."""

    def loss(self, batch, generator, step):
        z = self.encode(batch.x).mean
        return StepResult({"recon": Term((z - z.mean(0)).square().sum(1))}, self.decode(z))


@sound("method")
class Centred(Autoencoder):
    """Codes are centred on the mean of the batch, and divided by the scale of what is left."""

    def loss(self, batch, generator, step):
        z = self.encode(batch.x).mean
        z = z - gather(z).mean(0)
        z = z / (1 + gather(z.square()).mean())
        return StepResult({"recon": Term(z.square().sum(1))}, self.decode(z))


@fault("method", "trains", "draw from the generator given")
class TrainingOnGlobalNoise(Autoencoder):
    """Noise of the codes from the global random state."""

    def loss(self, batch, generator, step):
        z = self.encode(batch.x).mean
        x_hat = self.decode(z + torch.randn(z.shape))
        return StepResult({"recon": Term((x_hat - batch.x).flatten(1).square().sum(1))}, x_hat)


@fault("method", "as_transform", "exact_inverse = True, but")
class FalselyExact(Autoencoder):
    """Three codes for six values, said to give the data back."""

    def latent_spaces(self):
        return [LatentSpace("z", (self.width,), exact_inverse=True)]


@fault("method", "averages", "keep nothing that is computed from parameters")
class KeepingWeights(Autoencoder):
    """The encoder's weight is doubled once, at the first use."""

    doubled = None

    def encode(self, x, aux=None, space=None):
        if self.doubled is None:
            self.doubled = 2 * self.encoder.weight.detach()
        return Delta((x.flatten(1) - self.mean) @ self.doubled.T)


@fault("method", "audited", "Draw nothing in encode and decode")
class DrawingCodes(Autoencoder):
    """Data come with other noise each time."""

    def decode(self, z, space=None):
        x = super().decode(z)
        return x * (1 + torch.rand(x.shape))


# ---- checks and datasets


@sound("check")
class Size(Check):
    """Mean magnitude of the scores, which should be at most 1,000."""

    name = "Size"
    question = "Are the scores small?"

    def __init__(self, most: float = 1000.0) -> None:
        self.most = most

    def measure(self, subject, batch, labels):
        return {label: {"size": tree.rows(batch.explained[label].scores).abs().mean(1)} for label in labels}

    def conclude(self, findings):
        estimate = findings.bootstrap.estimate(findings.values["size"])
        status = judge(estimate, self.most, "≤")
        return self.verdict(findings, status, "The scores were measured.", estimate, ("≤", self.most))


@fault("check", "verdict_rules", "take the status from judge")
class AlwaysPass(Size):
    """PASS, whatever was measured."""

    name = "AlwaysPass"

    def conclude(self, findings):
        estimate = findings.bootstrap.estimate(findings.values["size"])
        return self.verdict(findings, Status.PASS, "All is well.", estimate, ("≤", -1.0))


@fault("check", "declares", "set the class attribute name")
class Misnamed(Size):
    """Registered under another name than its own."""

    name = "size"


@fault("check", "batches", "measure rows alone")
class RelativeToTheBatch(Size):
    """Values relative to the first sample of the batch."""

    name = "RelativeToTheBatch"

    def measure(self, subject, batch, labels):
        values = super().measure(subject, batch, labels)
        return {label: {"size": v["size"] / v["size"][0]} for label, v in values.items()}


@fault("check", "repeats", "random state; use findings.bootstrap")
class Unseeded(Size):
    """A draw from the global random state."""

    name = "Unseeded"

    def conclude(self, findings):
        findings.values["size"] = findings.values["size"] + float(torch.rand(()))
        return super().conclude(findings)


@fault("check", "renders", "Mend the line that raised it")
class Unwritable(Size):
    """Evidence that no results.json can hold."""

    name = "Unwritable"

    def evidence(self, findings):
        return {"size": findings}


@sound("dataset")
def noise(split: str = "train", seed: int = 0) -> Dataset:
    """Normal noise."""
    if split not in ("train", "test"):
        raise DataError(f"noise: expected split 'train' or 'test', got {split!r}")
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(seed))
    return Dataset("noise", x[:50] if split == "train" else x[50:], split=split)


@fault("dataset", "splits", "divide them once")
def overlapping(split: str = "train") -> Dataset:
    """Test samples among the training samples."""
    whole = noise(split).x
    return Dataset("overlapping", torch.cat([whole, noise("test").x]), split=split)


@fault("dataset", "keyed_draws", "use a generator with a seed of its own")
def unseeded(split: str = "train") -> Dataset:
    """Noise from the global random state."""
    return Dataset("unseeded", noise(split).x + torch.randn(1), split=split)


@fault("dataset", "declared", "mend DatasetSpec")
def misdeclared(split: str = "train") -> Dataset:
    """Samples of another shape than the record says."""
    return Dataset("misdeclared", noise(split).x[:, :3], split=split)


# ---- commands, in a module that imports no torch

SOUND["hello"] = "command"
FAULTS["heavy"] = Fault("command", "help_without_torch", "import heavy modules inside run")
FAULTS["misled"] = Fault("command", "example", "--quiet, which --help does not name")
FAULTS["exiting"] = Fault("command", "usage_errors", "use plain_parser of trimkit.cli.commands")


# ---- parts of any kind


@fault("penalty", "is_documented", "write what it computes")
def undocumented(scores) -> Tensor:
    return squares(scores)


@fault("penalty", "types_its_options", "options without a type: power")
def untyped(scores, power=2) -> Tensor:
    """Sum of powers."""
    return tree.rows(scores).abs().pow(power).sum(1)


number = 3
FAULTS["number"] = Fault("penalty", "is_imported", "is a int; name a class or a function")


def records(kind: str) -> list[Any]:
    names = [*SOUND, *FAULTS]
    kinds = {**SOUND, **{name: each.kind for name, each in FAULTS.items()}}
    spec = {**{s.kind: s for s in KINDS.values()}, "check": CheckSpec}[kind]
    more = {"shape": (4,)} if spec is DatasetSpec else {}
    module = "mutant_commands" if kind == "command" else "mutants"
    mine = [n for n in names if kinds[n] == kind]
    if kind == "command":
        examples = {"hello": "trimkit hello", "misled": "trimkit misled --quiet"}
        return [spec(n, f"{module}:{n}", "A part of the tests.", example=examples.get(n, "")) for n in mine]
    return [spec(n, f"{module}:{n}", "A part of the tests.", **more) for n in mine]


@hookimpl
def trimkit_transforms():
    return records("transform")


@hookimpl
def trimkit_attributions():
    return records("attribution")


@hookimpl
def trimkit_penalties():
    return records("penalty")


@hookimpl
def trimkit_methods():
    return records("method")


@hookimpl
def trimkit_checks():
    return records("check")


@hookimpl
def trimkit_commands():
    return records("command")


@hookimpl
def trimkit_datasets():
    return records("dataset")
