"""CAR-FT and its baselines: one cell on one machine.

The names of ``__all__`` stay: other programs import them from here. They are loaded when they are first asked for, so
that ``import carft`` loads no torch.
"""

from importlib import import_module

__version__ = "0.2.0"

#: Raised by hand whenever the same cell may give other numbers; guarded by tests/carft/training/test_golden.py.
NUMERICS = 1

SCHEMA_VERSION = 1

#: name -> the module that defines it
_DEFINED_IN = {
    "Card": "carft.data.card",
    "Execution": "carft.training.execution",
    "Predictions": "carft.core.metrics",
    "Pretrained": "carft.models.clip",
    "Reading": "carft.config.settings",
    "Training": "carft.config.settings",
    "class_head": "carft.models.heads",
    "context_divergence": "carft.methods.car_ft",
    "context_head": "carft.models.heads",
    "context_logits": "carft.models.heads",
    "load_pretrained": "carft.models.clip",
    "method": "carft.catalog.plugins",
    "score": "carft.core.metrics",
    "train": "carft.training.train",
}
__all__ = [*_DEFINED_IN]


def __getattr__(name: str) -> object:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'carft' has no attribute '{name}'")
    return getattr(import_module(_DEFINED_IN[name]), name)
