"""The records of trimkit's own commands; nothing heavy is imported."""

from __future__ import annotations

from trimkit.hooks import CommandSpec

COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        "demo",
        "trimkit.cli.demo:run",
        "The planted-shortcut story on real digits, ending in a report.",
        example="trimkit demo --out trimkit-demo",
    ),
    CommandSpec(
        "list",
        "trimkit.cli.list:run",
        "The parts that are installed: transforms, attributions, and so on.",
        example="trimkit list transforms",
    ),
    CommandSpec(
        "plugins",
        "trimkit.cli.plugins:run",
        "Where parts come from, and why a plugin is not loaded.",
        example="trimkit plugins --check",
    ),
    CommandSpec(
        "new-plugin",
        "trimkit.cli.new_plugin:run",
        "Write a plugin: a project with working parts and tests.",
        example="trimkit new-plugin trimkit-haar --kind transform --kind penalty",
    ),
    CommandSpec(
        "train",
        "trimkit.cli.train:run",
        "Train a generative method, with TRIM penalties and around a frozen predictor.",
        example="trimkit train beta-vae --data digits --steps 300 --out runs/digits",
    ),
    CommandSpec(
        "evaluate",
        "trimkit.cli.evaluate:run",
        "How disentangled a trained run's codes are, beside trivial codes.",
        example="trimkit evaluate runs/digits",
    ),
    CommandSpec(
        "sample",
        "trimkit.cli.sample:run",
        "New data from a trained run, as arrays and as a picture.",
        example="trimkit sample runs/digits --n 64 --out samples.npz",
    ),
    CommandSpec(
        "interpolate",
        "trimkit.cli.interpolate:run",
        "What a trained run makes of the codes between two.",
        example="trimkit interpolate runs/digits --between 3,17 0,8 --frames 11",
    ),
    CommandSpec(
        "encode",
        "trimkit.cli.encode:run",
        "The codes of data in a trained run's space, as data.",
        example="trimkit encode runs/digits digits --out codes.npz",
    ),
    CommandSpec(
        "revise",
        "trimkit.cli.revise:run",
        "Find what a model must not rely on, correct it, audit it again.",
        example="trimkit revise --model mine.py:net --weights net.safetensors --data digits --transform fft",
    ),
    CommandSpec(
        "audit",
        "trimkit.cli.audit:run",
        "Verdicts on a model and its explanations in a space, and a report.",
        example="trimkit audit --model mine.py:net --weights net.safetensors --data digits --transform fft",
    ),
    CommandSpec(
        "merge",
        "trimkit.cli.merge:run",
        "One report from the shards of an audit.",
        example="trimkit merge trimkit-shards --out report",
    ),
    CommandSpec(
        "compare",
        "trimkit.cli.compare:run",
        "Two audits of the same samples: what became worse.",
        example="trimkit compare audit-before audit-after --margin 0.02",
    ),
)
