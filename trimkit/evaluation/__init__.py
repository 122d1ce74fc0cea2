"""What a run or an encoder is worth: codes, samples and components beside their baselines."""

from trimkit.evaluation.generation import Features, make_features
from trimkit.evaluation.recorded import recorded_data
from trimkit.evaluation.representation import Evaluation
from trimkit.evaluation.run import evaluate

__all__ = ["Evaluation", "Features", "evaluate", "make_features", "recorded_data"]
