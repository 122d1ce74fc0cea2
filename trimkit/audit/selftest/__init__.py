"""Does the auditor tell right from wrong? Models whose contributions are known, explained rightly and wrongly.

The package is what users call: ``result = trimkit.audit.selftest()``, or ``trimkit audit --selftest``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.registry.lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from trimkit.audit.selftest.outcomes import Outcome, Rate, SelfTest
    from trimkit.audit.selftest.runner import selftest

__all__ = ["Outcome", "Rate", "SelfTest", "selftest"]

_NAMES = {
    "Outcome": "trimkit.audit.selftest.outcomes:Outcome",
    "Rate": "trimkit.audit.selftest.outcomes:Rate",
    "SelfTest": "trimkit.audit.selftest.outcomes:SelfTest",
    "selftest": "trimkit.audit.selftest.runner:selftest",
}

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
make_callable(__name__, "trimkit.audit.selftest.runner:selftest")
