"""The value of each setting where a file of a results folder leaves it out. These never change.

Ids and labels count from here, and new cells from the defaults in ``settings.py``. So a default may change there: cells
with the new value then name it, and those on record keep their ids and their meaning. A new setting gets its first
default here too.
"""

from collections.abc import Mapping
from typing import Any

#: what specifications of cells leave out of the protocol
PROTOCOL: Mapping[str, Any] = {"eval_view": "centre", "holdout": "stable", "target_split": "all"}
#: what studies leave out of it
STUDY: Mapping[str, Any] = {**PROTOCOL, "precision": "float32"}
#: what specifications leave out of the training recipe
TRAINING: Mapping[str, Any] = {"steps": None, "domain_balanced": False, "augmentation": "crop", "schedule": "cosine"}
#: the recipe that cells of untrained methods have, which no training changes
UNTRAINED: Mapping[str, Any] = {
    "epochs": 5,
    "batch_size": 32,
    "weight_decay": 0.1,
    "warmup": 0.1,
    "clip": 1.0,
    "crop": 0.9,
    **TRAINING,
}
#: the default reading: ids leave its factors out, and reports call it the default
READING: Mapping[str, Any] = {
    "kl_direction": "pretrained-to-tuned",
    "context_temperature": 1.0,
    "context_scale": "pretrained",
    "context_templates": "standard",
    "class_head": "trained",
}
