"""Everything about the user's model: frozen, loaded, guarded, and composed with the inverse of a transform."""

from trimkit.predictor.frozen import FrozenPredictor
from trimkit.predictor.prediction_loss import Match, PredictionLoss
from trimkit.predictor.state import state_hash

__all__ = ["FrozenPredictor", "Match", "PredictionLoss", "state_hash"]
