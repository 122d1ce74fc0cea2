"""The demo: real digits with a planted frequency shortcut, found by an audit and removed by a penalty."""

from trimkit.demo.networks import digit_classifier, train_classifier

__all__ = ["digit_classifier", "train_classifier"]
