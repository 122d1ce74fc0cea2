"""Methods with one fault each, and the sound ones that they are made from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from trimkit.methods import Delta, LatentSpace, Method, Phase, StepResult, Term, adam, gather, standard_normal

from .register import fault, sound


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
