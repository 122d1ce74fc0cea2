"""Training of generative methods: the phase loop, checkpoints, run folders."""

from trimkit.training.guidance import TrimTerm
from trimkit.training.run import Run, train
from trimkit.training.run_folder import RunFolder
from trimkit.training.settings import Settings
from trimkit.training.validation import Moment

__all__ = ["Moment", "Run", "RunFolder", "Settings", "TrimTerm", "train"]
