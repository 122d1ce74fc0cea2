"""Before an audit: model and data are read, every name is checked, and what was understood is printed."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import TrimkitWarning
from trimkit.registry.loader import printable
from trimkit.registry.spelling import parse_values


class Intake(NamedTuple):
    """What is audited.

    Attributes:
        model: on its device.
        data: of the audit.
        options: of `trimkit.audit`, those of a layer where one is asked for.
        lines: (what, how) pairs: what was understood.
        notes: warnings of both, and of the options.
    """

    model: Any
    data: Any
    options: dict[str, Any]
    lines: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def write(self, target: str) -> None:
        """Print what was understood, and where the result goes."""
        for what, how in (*self.lines, ("report", target)):
            sys.stdout.write(f"{what:<12} {how}\n")
        sys.stdout.flush()
        for note in self.notes:
            sys.stderr.write(f"trimkit: warning: {printable(note)}\n")

    @contextmanager
    def said_once(self) -> Iterator[None]:
        """Within, the notes are not said again; other warnings of trimkit's are lines."""
        with one_line_warnings():
            warnings.simplefilter("default", TrimkitWarning)
            for note in self.notes:
                warnings.filterwarnings("ignore", re.escape(note), TrimkitWarning)
            yield


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
    with warnings.catch_warnings(record=True) as caught:  # those of others come again as the audit is made
        warnings.simplefilter("always", TrimkitWarning)
        check_names(model, data, **options)
    own = (str(one.message) for one in caught if issubclass(one.category, TrimkitWarning))
    return Intake(model, data, options, understood.lines, tuple(dict.fromkeys([*understood.notes, *own])))


def ids_of_table(arguments: argparse.Namespace) -> dict[str, Any]:
    """The option of `trimkit.data.load` that --id-column stands for, if it is there."""
    column = getattr(arguments, "id_column", None)  # files of shards from an older version do not say
    return {} if column is None else {"id": column}
