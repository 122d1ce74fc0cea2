"""Before an audit: model and data are read, every name is checked, and what was understood is printed."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import TrimkitWarning
from trimkit.registry.spelling import parse_values

if TYPE_CHECKING:
    from trimkit.audit.examine import Understood


class Intake(NamedTuple):
    """What is audited.

    Attributes:
        model: on its device.
        data: of the audit.
        options: of `trimkit.audit`, those of a layer where one is asked for.
        understood: of both.
    """

    model: Any
    data: Any
    options: dict[str, Any]
    understood: Understood

    def write(self, target: str) -> None:
        """Print what was understood, and where the result goes."""
        for what, how in (*self.understood.lines, ("report", target)):
            sys.stdout.write(f"{what:<12} {how}\n")
        sys.stdout.flush()
        for note in self.understood.notes:
            sys.stderr.write(f"trimkit: warning: {note}\n")


def take_in(arguments: argparse.Namespace, options: dict[str, Any]) -> Intake:
    """Load model and data, and check every name; nothing is printed or made.

    Args:
        arguments: of ``trimkit audit``.
        options: see `trimkit.cli.audit.audit_options`.
    Raises:
        TrimkitError: a part, check, threshold, group or engine that does not exist; see `trimkit.audit`.
    """
    from trimkit.audit.engines import require_engine
    from trimkit.audit.examine import examine
    from trimkit.audit.runner import check_names
    from trimkit.cli._device import device_of
    from trimkit.data import load
    from trimkit.predictor.loading import load_model

    if getattr(arguments, "engine", None):
        require_engine(arguments.engine)
    model_arguments = parse_values(arguments.model_arguments, "--model.arg")
    model = load_model(
        arguments.model, arguments.weights, arguments=model_arguments, allow_pickle=arguments.allow_pickle
    )
    model = model.to(device_of(arguments.device))
    with one_line_warnings():
        warnings.simplefilter("always", TrimkitWarning)
        data = load(arguments.data, arguments.split, **ids_of_table(arguments))
    if arguments.at:
        from trimkit.audit.layer import at_layer

        space = options["transform"]
        model, data, _, space = at_layer(model, data, None, space, arguments.at, options["batch_size"])
        options = {**options, "transform": space}
    understood = examine(model, data, options["target"], options["task"])
    with said_once():
        check_names(model, data, **options)
    return Intake(model, data, options, understood)


@contextmanager
def said_once() -> Iterator[None]:
    """Without the warnings that `Intake.write` prints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)
        yield


def ids_of_table(arguments: argparse.Namespace) -> dict[str, Any]:
    """The option of `trimkit.data.load` that --id-column stands for, if it is there."""
    column = getattr(arguments, "id_column", None)  # files of shards from an older version do not say
    return {} if column is None else {"id": column}
