"""What a method promises: options that come back, codes and data of the stated shapes, phases that train, resume."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.data import Dataset
from trimkit.errors import TrimkitError
from trimkit.methods import Batch, Method, Phase, StepResult, Term, decode_codes
from trimkit.objective import Objective
from trimkit.testing.promises import (
    BrokenPromise,
    Inapplicable,
    Size,
    Trial,
    gap,
    own_draws,
    promise,
    require,
    seeded,
)
from trimkit.training import train
from trimkit.trim import Trim

SHAPES: tuple[Size, ...] = ((6,), (1, 8, 8))
SAMPLES = 40
ROWS = 8
"""Samples of one batch."""
STEPS = {"batch_size": ROWS, "log_every": 1, "checkpoint_every": 100, "evaluated": 8, "device": "cpu"}


def made(trial: Trial) -> Method:
    """The method for the first shape that it takes, the same each time, in eval mode."""
    _, method = next(iter(trial.accepted(SHAPES, lambda size: _made(trial, size))))
    return method


def _made(trial: Trial, size: Size) -> Method:
    with seeded():
        method = trial.make(shape=size).eval()
    method.check(samples(trial, method).x)
    return method


def samples(trial: Trial, method: Method) -> Dataset:
    """Forty samples in [0, 1] of two classes, which are the auxiliary variable too."""
    noise = trial.draw(SAMPLES, method.shape)
    x = (noise if trial.example.data else torch.special.ndtr(noise)).float()
    y = (torch.arange(SAMPLES) % 2).long()
    return Dataset("conformance", x, y, classes=("even", "odd"), aux=y)


def batch_of(trial: Trial, method: Method, rows: slice) -> Batch:
    """Some of the `samples`, as a step sees them."""
    data = samples(trial, method)
    assert data.y is not None
    return Batch(data.x[rows], data.y[rows], data.y[rows])


def prepared(trial: Trial) -> Method:
    """A method that has seen the data: fitted in closed form, or ready for its first step."""
    method = made(trial)
    data = samples(trial, method)
    if method.phases():
        method.prepare(data.x[:], data.aux, torch.Generator().manual_seed(0))
    else:
        method.fit(data.x[:], data.aux)
    return method


def trained(trial: Trial, steps: int = 2, **options: Any) -> Method:
    """A method after some steps, or fitted in closed form."""
    method = made(trial)
    settings = {**STEPS, "steps": steps} if method.phases() else {"device": "cpu", "evaluated": 8}
    train(method, samples(trial, method), **settings, **options)
    return method.eval()


@promise("method", light=True)
def options(trial: Trial) -> None:
    """Every argument is kept under its own name: ``type(method)(**method.options)`` is the same method."""
    method = made(trial)
    twin = type(method)(**method.options)
    require(
        repr(twin.options) == repr(method.options), f"options {method.options} come back as {twin.options}; keep them"
    )
    kept = {name: tuple(value.shape) for name, value in method.state_dict().items()}
    again = {name: tuple(value.shape) for name, value in twin.state_dict().items()}
    require(kept == again, "a method made from its options has other parameters; keep arguments as they were given")


@promise("method")
def codes(trial: Trial) -> None:
    """Each space encodes to (N, *space.shape) and decodes to (N, *shape), each sample alone."""
    method = prepared(trial)
    batch, second = (batch_of(trial, method, rows) for rows in (slice(3), slice(1, 2)))
    for space in method.latent_spaces():
        z = torch.zeros(3, *space.shape)
        if space.can_encode:
            z = encoded(method, batch, space.name)
            require(z.shape == (3, *space.shape), f"encode gives {tuple(z.shape)} for {space}; mend the space's shape")
            error = gap(encoded(method, second, space.name), z[1:2])
            require(error < 1e-4, f"the code of a row differs by {error:.2g} with other rows beside it, in eval mode")
        if space.can_decode:
            x = decode_codes(method, z, space, batch.aux)
            require(x.shape == (3, *method.shape), f"decode gives {tuple(x.shape)}; expected {(3, *method.shape)}")
            error = gap(decode_codes(method, z[1:2], space, second.aux), x[1:2])
            require(error < 1e-4, f"the data of a code differ by {error:.2g} with other codes beside it, in eval mode")


@promise("method", light=True)
def terms(trial: Trial) -> None:
    """A phase's loss returns a StepResult whose terms are `Term` objects with the names that have weights."""
    method = prepared(trial).train()
    for phase, batch, result in turns(trial, method):
        where = f"phase {phase.name!r}"
        require(
            isinstance(result, StepResult), f"{where} returns {type(result).__name__}; return StepResult(terms={{…}})"
        )
        for name, term in result.terms.items():
            got = type(term).__name__
            require(
                isinstance(term, Term), f"{where}: term {name!r} is a {got}; wrap it, Term(values), values (N,) in nats"
            )
            count = term.values.numel()
            require(1 <= count <= len(batch), f"{where}: term {name!r} has {count} values; one a sample, or one")
            require(bool(torch.isfinite(term.values).all()), f"{where}: term {name!r} holds NaN or infinity")
        got, weighted = set(result.terms), set(phase.weights)
        require(got == weighted, f"{where} has terms {sorted(got)} and weights {sorted(weighted)}; name them alike")
        x_hat = result.reconstruction
        if phase.trains_decoder and not phase.generates and isinstance(x_hat, Tensor):
            require(
                x_hat.shape == batch.x.shape, f"{where}: the reconstruction is {tuple(x_hat.shape)}; like the batch's x"
            )
        require(
            not phase.trains_decoder or phase.generates or x_hat is not None,
            f"{where} trains the decoder but returns no reconstruction; give StepResult(…, reconstruction=x_hat)",
        )


@promise("method")
def phases_freeze(trial: Trial) -> None:
    """A phase's step changes its own parameters and no others."""
    method = prepared(trial).train()
    for phase, batch, _ in turns(trial, method):
        own = {id(p) for p in phase.parameters}
        names = {id(p): name for name, p in method.named_parameters()}
        strangers = own - set(names)
        require(not strangers, f"phase {phase.name!r} trains tensors that are not the method's; make them attributes")
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        _step(phase, batch, [p for p in method.parameters() if id(p) not in own])
        moved = {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}
        leaked = sorted(moved - {names[i] for i in own})
        require(
            not leaked,
            f"phase {phase.name!r} changes {', '.join(leaked)}, which are not its own; leave the updates to it",
        )
        require(bool(moved), f"phase {phase.name!r} moves none of its parameters; let a weighted term depend on them")


@promise("method")
def trains(trial: Trial) -> None:
    """Two steps of `trimkit.train`, or a fit, leave finite parameters; draws do not touch the global random state."""
    before, ready = torch.get_rng_state(), prepared(trial).train()
    for phase, *_ in turns(trial, ready) if ready.phases() else ():
        own = torch.equal(before, torch.get_rng_state())
        require(own, f"phase {phase.name!r} draws from torch's global random state; draw from the generator given")
    with own_draws("training draws from torch's global random state; draw from the generator given"):
        method = trained(trial)
    bad = [name for name, value in method.state_dict().items() if not bool(torch.isfinite(value).all())]
    require(not bad, f"after training {', '.join(bad)} hold NaN or infinity; lower the learning rate, or mend the loss")


@promise("method")
def state(trial: Trial) -> None:
    """All that training changes is saved: the state of a trained method makes a new one give the same."""
    method, twin = trained(trial), made(trial)
    twin.load_state_dict(method.state_dict())
    batch = batch_of(trial, method, slice(3))
    again = codes_and_data(twin, batch)
    for (does, name), value in codes_and_data(method, batch).items():
        what = {"encode": "encodes to", "decode": "decodes"}[does]
        same = gap(again[does, name], value) == 0
        require(same, f"a loaded copy {what} the space {name!r} otherwise; register what training changes as buffers")


@promise("method")
def resume(trial: Trial) -> None:
    """Training four steps, and two with two more after a restart, give the same bits."""
    if not made(trial).phases():
        raise Inapplicable("it is fitted in closed form")
    with tempfile.TemporaryDirectory() as folder:
        whole = trained(trial, 4, folder=Path(folder) / "whole")
        trained(trial, 2, folder=Path(folder) / "parts")
        parts = trained(trial, 4, folder=Path(folder) / "parts", resume=True)
    other = [name for name, value in parts.state_dict().items() if not torch.equal(value, whole.state_dict()[name])]
    require(
        not other,
        f"a resumed run ends with another {', '.join(other)}; keep what a step needs from earlier ones in buffers, and "
        "draw from the generator that the loss is given",
    )


@promise("method")
def as_transform(trial: Trial) -> None:
    """Each space that encodes and decodes is a transform in which a model can be explained."""
    method = trained(trial)
    x = batch_of(trial, method, slice(3)).x
    for transform in transforms(method):
        space = transform.space
        s = transform(x)
        error = gap(transform.inverse(s) + transform.residual(x, s), x)
        require(error < 1e-4, f"space {space.name!r}: inverse(s) + residual differs from x by {error:.2g}")
        lost = gap(transform.inverse(s), x) if space.exact_inverse else 0.0
        require(lost < 1e-2, f"space {space.name!r}: exact_inverse = True, but decode(encode(x)) is off by {lost:.2g}")
        labels = tree.leaves(transform.groups(method.shape).labels)[0]
        require(
            labels.shape == space.shape, f"space {space.name!r}: layout {tuple(labels.shape)} for codes {space.shape}"
        )
        result = Trim(lambda x: x.flatten(1).square(), transform, "input_x_gradient")(x, target=0)
        finite = all(bool(torch.isfinite(leaf).all()) for leaf in tree.leaves(result.scores))
        require(finite, f"space {space.name!r}: scores of its codes hold NaN or infinity; look at decode's gradient")


@promise("method")
def sampling(trial: Trial) -> None:
    """``sample`` gives (n, *shape) of its generator alone, where the method has a prior."""
    method = trained(trial)
    aux = batch_of(trial, method, slice(4)).aux
    draws = [_sampled(method, aux, seed) for seed in (0, 0, 1)]
    require(draws[0].shape == (4, *method.shape), f"sample(4) gives {tuple(draws[0].shape)}; give {(4, *method.shape)}")
    require(gap(draws[0], draws[1]) == 0, "the same generator gives other samples; draw from it alone")
    require(gap(draws[0], draws[2]) > 0, "another generator gives the same samples; draw from the one that is given")


def _sampled(method: Method, aux: Tensor | None, seed: int) -> Tensor:
    try:
        with own_draws("sample draws from torch's global random state; draw from its generator"):
            return method.sample(4, torch.Generator().manual_seed(seed), aux)
    except BrokenPromise:
        raise
    except TrimkitError as refusal:
        raise Inapplicable(str(refusal)) from refusal


def encoded(method: Method, batch: Batch, space: str) -> Tensor:
    """The codes of a batch: (N, *shape of the space)."""
    with torch.no_grad():
        return method.encode(batch.x, batch.aux, space).mean


@torch.no_grad()
def codes_and_data(method: Method, batch: Batch) -> dict[tuple[str, str], Tensor]:
    """("encode", space) → codes of the batch, ("decode", space) → data of codes that are the same each time."""
    given: dict[tuple[str, str], Tensor] = {}
    for space in method.latent_spaces():
        if space.can_encode:
            given["encode", space.name] = encoded(method, batch, space.name)
        if space.can_decode:
            z = torch.randn(len(batch), *space.shape, generator=torch.Generator().manual_seed(0))
            given["decode", space.name] = decode_codes(method, z, space, batch.aux)
    return given


def turns(trial: Trial, method: Method, begin: int = 0, count: int = ROWS) -> Iterator[tuple[Phase, Batch, StepResult]]:
    """Each phase with a batch as it sees it, and its result; in train mode, as in training.

    Of the batch's `ROWS` rows, ``count`` from ``begin`` on are taken. Inapplicable where there are no phases.
    """
    if not method.phases():
        raise Inapplicable("it is fitted in closed form")
    starts = (begin, ROWS + begin)
    first, second = (batch_of(trial, method, slice(start, start + count)) for start in starts)
    carried: dict[str, Tensor] = {}
    for phase in method.phases():
        batch = replace(first, other=second if phase.draws == 2 else None, carried=dict(carried))
        result = phase.loss(batch, torch.Generator().manual_seed(0), 0)
        yield phase, batch, result
        if isinstance(result, StepResult):
            carried |= {name: value.detach() for name, value in result.carried.items()}


def _step(phase: Phase, batch: Batch, others: list[torch.nn.Parameter]) -> None:
    """One step with all other parameters frozen, as the loop takes it."""
    trainable = [p for p in others if p.requires_grad]
    for p in trainable:
        p.requires_grad_(False)
    try:
        optimiser = phase.optimiser(list(phase.parameters))
        for number in range(2):  # a generator's weights may start where its first gradient is 0
            result = phase.loss(batch, torch.Generator().manual_seed(number), number)
            loss, _ = Objective(phase.weights)(result.terms, 1000)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    finally:
        for p in trainable:
            p.requires_grad_(True)


def transforms(method: Method) -> list[Any]:
    """The method's spaces that encode and decode, as transforms.

    Raises:
        Inapplicable: there are none.
        BrokenPromise: the method does not make them.
    """
    spaces = method.latent_spaces()
    usable = [s for s in spaces if s.can_encode and s.can_decode and (method.condition or not s.needs_aux)]
    if not usable:
        raise Inapplicable("no space of it is a transform: " + "; ".join(s.reason for s in spaces if s.reason))
    try:
        return [
            method.as_transform(s.name, aux=1) if s.needs_aux or s.decoding_needs_aux else method.as_transform(s.name)
            for s in usable
        ]
    except TrimkitError as error:
        raise BrokenPromise(f"as_transform refuses a space that encodes and decodes: {error}") from error
