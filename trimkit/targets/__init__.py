"""Which number of a model's output is explained: one vocabulary for training, audits and integrations."""

from trimkit.targets.probabilities import class_log_probabilities, label_log_probability, log_probabilities, predicted
from trimkit.targets.selection import IGNORED, NextTokens, Target, class_axis, logits_in, select, take_target
from trimkit.targets.words import WORDS, next_token, parse_target, require_target, resolve_target

__all__ = [
    "IGNORED",
    "WORDS",
    "NextTokens",
    "Target",
    "class_axis",
    "class_log_probabilities",
    "label_log_probability",
    "log_probabilities",
    "logits_in",
    "next_token",
    "parse_target",
    "predicted",
    "require_target",
    "resolve_target",
    "select",
    "take_target",
]
