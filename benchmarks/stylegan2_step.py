"""What a StyleGAN2 training step costs: generator + discriminator + lazy path length and R1, against a floor.

The step is the one that ``trimkit train stylegan2`` takes: batch 16, z and w of 64, 64 channels (32 at 64 pixels),
style mixing, Adam, finite check. It is amortised: path length counts a quarter, R1 a sixteenth.

The floor is arithmetic alone: the floating-point operations of all convolutions, written out below, at the speed that a
plain 3 × 3 convolution of the same size reaches in the same run, forward and backward, in torch's default layout and in
the faster one, channels last, which the networks use. A forward pass counts once, a
gradient with respect to inputs once, one with respect to weights once; a penalty on a gradient six times.

No public implementation is timed beside it: stylegan2-pytorch 1.9.0, the one on PyPI, imports torchvision, which
trimkit never installs, and asserts a CUDA device when it is imported.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from _timing import interleaved
from torch import Tensor
from trimkit_gan.stylegan import StyleGAN2

from trimkit.methods import Batch
from trimkit.training.engine import Engine
from trimkit.training.runner import PhaseRunner, Position, make_runners
from trimkit.training.settings import Settings

BATCH = 16
LAYOUTS = {"default layout": torch.contiguous_format, "channels last": torch.channels_last}
SHARES = {"generator": 1.0, "generator_path": 1 / 4, "discriminator": 1.0, "discriminator_r1": 1 / 16}


def conv_flops(inputs: int, outputs: int, kernel: int, pixels: int) -> float:
    """Multiplications and additions of a convolution on one image; pixels are those at which the kernel is laid."""
    return 2.0 * inputs * outputs * kernel**2 * pixels


def generator_flops(method: StyleGAN2) -> float:
    """One forward of the synthesis network on one image: a doubling convolution works on the pixels that it doubles."""
    total = 0.0
    for tap in method.synthesis.taps:
        outputs, inputs, kernel, _ = tap.module.weight.shape
        doubles = getattr(tap.module, "up", False)
        total += conv_flops(inputs, outputs, kernel, (tap.resolution // (2 if doubles else 1)) ** 2)
    return total


def discriminator_flops(method: StyleGAN2) -> float:
    """One forward of the discriminator on one image: a halving convolution is laid at the low resolution's pixels."""
    network, size = method.discriminator, method.shape[-1]
    entry = network.from_rgb[str(network.top.level)]
    total = conv_flops(*_channels(entry), 1, size**2)
    for level in range(network.top.level, 0, -1):
        block, pixels = network.blocks[level - 1], (4 * 2**level) ** 2
        total += conv_flops(*_channels(block.first), 3, pixels)
        total += conv_flops(*_channels(block.second), 3, pixels // 4)
        total += conv_flops(*_channels(block.around), 1, pixels // 4)
    return total + conv_flops(*_channels(network.conv), 3, 16) + 2.0 * network.hidden.weight.numel()


def _channels(layer: torch.nn.Module) -> tuple[int, int]:
    outputs, inputs = layer.weight.shape[:2]  # type: ignore[index]
    return inputs, outputs


def floor_flops(method: StyleGAN2) -> dict[str, float]:
    """Operations of each phase on its batch."""
    g, d = generator_flops(method), discriminator_flops(method)
    return {
        "generator": BATCH * (3 * g + 2 * d),  # the discriminator's weights get no gradient
        "generator_path": BATCH / 2 * 6 * g,
        "discriminator": BATCH * (g + 2 * 3 * d),  # real and generated images
        "discriminator_r1": BATCH * 6 * d,
    }


def make_step(runner: PhaseRunner, engine: Engine, x: Tensor) -> Callable[[], object]:
    """One turn of a phase, as the training loop takes it."""
    settings = Settings()
    return lambda: runner.step([Batch(x)], engine, Position(1, 0, 1), settings)


def make_plain_conv(size: int, channels: int, layout: torch.memory_format) -> Callable[[], object]:
    """Forward and backward of one 3 × 3 convolution: three times `conv_flops`."""
    x, upstream = (torch.randn(BATCH, channels, size, size).contiguous(memory_format=layout) for _ in range(2))
    x.requires_grad_()
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=layout)
    return lambda: torch.autograd.grad(layer(x), [x, layer.weight], upstream)


def compare(size: int, rounds: int) -> None:
    """Time the phases and the plain convolution, and print milliseconds beside the floor."""
    published = {"mapping_layers": 8, "channel_max": 64, "mixing": 0.9, "path_weight": 2.0}  # also for small images
    method = StyleGAN2((3, size, size), **published).train()
    engine = Engine(Settings(device="cpu"))
    x = torch.rand(BATCH, *method.shape)
    runners = make_runners(method, method.phases(), None, {})
    candidates = {runner.phase.name: make_step(runner, engine, x) for runner in runners}
    channels = method.synthesis.blocks[-1].to_rgb.weight.shape[1]  # type: ignore[union-attr, index]
    candidates |= {name: make_plain_conv(size, channels, layout) for name, layout in LAYOUTS.items()}
    seconds = {name: statistics.median(values) for name, values in interleaved(candidates, rounds, warmup=2).items()}
    work = 3 * BATCH * conv_flops(channels, channels, 3, size**2)
    report(size, seconds, floor_flops(method), [work / seconds[name] for name in LAYOUTS])


def report(size: int, seconds: dict[str, float], flops: dict[str, float], speeds: list[float]) -> None:
    """One line a phase, and the amortised step."""
    reached = ", ".join(f"{name} {speed / 1e9:.0f}" for name, speed in zip(LAYOUTS, speeds, strict=True))
    print(f"\nStyleGAN2, {size} × {size}, batch {BATCH}; plain convolution, GFLOP/s: {reached}")
    print(f"{'':24}{'share':>8}{'GFLOP':>9}{'ms':>9}{'floor/ms, default layout':>26}{'channels last':>15}")
    rows = {name: (share, flops[name], seconds[name]) for name, share in SHARES.items()}
    work, spent = (
        sum(share * row[n] for share, row in zip(SHARES.values(), rows.values(), strict=True)) for n in (1, 2)
    )
    rows["amortised step"] = (1.0, work, spent)
    for name, (share, operations, time) in rows.items():
        default, last = (operations / speed / time for speed in speeds)
        print(f"{name:24}{share:8.3f}{operations / 1e9:9.2f}{1000 * time:9.1f}{default:26.2f}{last:15.2f}")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for size in arguments.sizes:
        compare(size, arguments.rounds)
    print("\nstylegan2-pytorch 1.9.0 from PyPI is not timed: it needs torchvision, and asserts CUDA at import")


if __name__ == "__main__":
    main()
