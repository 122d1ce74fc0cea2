"""The assumptions of linear ICA, one module each, and `check_ica`, which asks them all of data."""

from trimkit_ica.assumptions.check import check_ica
from trimkit_ica.assumptions.findings import Component
from trimkit_ica.assumptions.fitted import Limits
from trimkit_ica.assumptions.report import IcaReport

__all__ = ["Component", "IcaReport", "Limits", "check_ica"]
