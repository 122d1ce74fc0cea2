"""Commands with one fault each, and the one without fault that they are made from."""

from __future__ import annotations

import argparse

from trimkit.cli.commands import plain_parser


def hello(argv: list[str]) -> int:
    """Say hello."""
    plain_parser("trimkit hello", "Say hello.").parse_args(argv)
    return 0


def heavy(argv: list[str]) -> int:
    """Say hello after importing numpy."""
    import numpy

    return hello(argv[: numpy.size(argv)])


def exiting(argv: list[str]) -> int:
    """Say hello with a parser that leaves the interpreter."""
    argparse.ArgumentParser("trimkit exiting").parse_args(argv)
    return 0


def misled(argv: list[str]) -> int:
    """Say hello, though its record has an example with an option that is none."""
    return hello(argv)
