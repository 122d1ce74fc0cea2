"""The data that a run says it was trained on."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from trimkit.data.files import load, names_code
from trimkit.errors import DataError
from trimkit.registry import available
from trimkit.storage import find_damage


def recorded_data(folder: Path) -> str:
    """What the run was trained on, where that can be loaded without running anything that the folder names.

    Raises:
        DataError: there is no such folder; nothing is named, a function, data that only the program knew, or other data
            than then.

    >>> recorded_data(Path("no-such-run"))
    Traceback (most recent call last):
    trimkit.errors.DataError: there is no run no-such-run; expected a folder that `trimkit train` wrote
    """
    if not folder.is_dir():
        raise DataError(f"there is no run {folder}; expected a folder that `trimkit train` wrote")
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
        data, sha256 = str(config["data"]), config.get("data_sha256")
    except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{folder}/config.yaml does not name the data of the run; give them with --data") from error
    if names_code(data):
        raise DataError(
            f"{folder}/config.yaml names {data!r} as the data, which would be imported and run; if you trust it: "
            f"--data {shlex.quote(data)}"
        )
    if sha256 is not None and (data not in available("datasets") or load(data).sha256 != sha256):
        raise DataError(
            f"{folder} was trained by a program on data that it called {data!r}, and no dataset of that name is the "
            "same; give them with --data"
        )
    if fault := find_damage(folder, ["config.yaml"]):
        raise DataError(f"{fault}; give the data with --data")
    return data
