"""trimkit: measure, penalise and audit what a model looks at, in the space where its explanation is simple.

The public names are imported when they are first used, so ``import trimkit`` costs neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimkit.errors import TrimkitError, TrimkitWarning
from trimkit.registry.lazy import lazy_names

if TYPE_CHECKING:
    from trimkit import attributions, data, methods, metrics, penalties, targets, transforms
    from trimkit.attributions.base import Attribution
    from trimkit.attributions.check import check_attribution
    from trimkit.audit.runner import audit, merge
    from trimkit.evaluation import evaluate
    from trimkit.objective import Objective, constant, cosine, linear
    from trimkit.predictor import FrozenPredictor, PredictionLoss
    from trimkit.registry import available, create
    from trimkit.revise.runner import revise
    from trimkit.training import train
    from trimkit.transforms.base import Transform
    from trimkit.trim import Trim, TrimPenalty

    __version__: str

__all__ = [
    "Attribution",
    "FrozenPredictor",
    "Objective",
    "PredictionLoss",
    "Transform",
    "Trim",
    "TrimPenalty",
    "TrimkitError",
    "TrimkitWarning",
    "__version__",
    "attributions",
    "audit",
    "available",
    "check_attribution",
    "constant",
    "cosine",
    "create",
    "data",
    "evaluate",
    "linear",
    "merge",
    "methods",
    "metrics",
    "penalties",
    "revise",
    "targets",
    "train",
    "transforms",
]

_NAMES = {
    "Attribution": "trimkit.attributions.base:Attribution",
    "FrozenPredictor": "trimkit.predictor.frozen:FrozenPredictor",
    "Objective": "trimkit.objective:Objective",
    "PredictionLoss": "trimkit.predictor.prediction_loss:PredictionLoss",
    "Transform": "trimkit.transforms.base:Transform",
    "Trim": "trimkit.trim.trim:Trim",
    "TrimPenalty": "trimkit.trim.penalty:TrimPenalty",
    "attributions": "trimkit.attributions",
    "audit": "trimkit.audit",  # a package that can be called: a function would be hidden by its own folder
    "available": "trimkit.registry.parts:available",
    "check_attribution": "trimkit.attributions.check:check_attribution",
    "constant": "trimkit.objective:constant",
    "cosine": "trimkit.objective:cosine",
    "create": "trimkit.registry.parts:create",
    "data": "trimkit.data",
    "evaluate": "trimkit.evaluation.run:evaluate",
    "linear": "trimkit.objective:linear",
    "merge": "trimkit.audit.runner:merge",
    "methods": "trimkit.methods",
    "metrics": "trimkit.metrics",
    "penalties": "trimkit.penalties",
    "revise": "trimkit.revise",  # callable too, as audit
    "targets": "trimkit.targets",
    "train": "trimkit.training:train",
    "transforms": "trimkit.transforms",
}

_get, _list = lazy_names(__name__, _NAMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("trimkit")
    return _get(name)


def __dir__() -> list[str]:
    return [*_list(), "__version__"]
