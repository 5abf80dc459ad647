"""What zero-shot recognises of contexts and classes."""

import math

from reports.analysis.levels import ClassRecognition, ContextRecognition, Recognition


def recognition_words(recognition: ContextRecognition) -> str:
    """``zero-shot recognises 20.0 % of contexts (95 %: 12.1 to 30.2; chance 16.7)``."""
    return f"zero-shot recognises {_share_words(recognition)} of contexts ({_beside_share(recognition)})"


def unknown_classes_words(recognition: ClassRecognition | None) -> str:
    """That a model does not know the classes of a task, and what to use; empty where it does, or nothing is known."""
    if recognition is None or recognition.is_above_chance or math.isnan(recognition.level.level_interval()[0]):
        return ""
    return (
        f"This model does not know these classes: {classes_words(recognition)}. Use one that was trained on such "
        "images and words: --model ViT-B-16 --pretrained openai, or a larger one."
    )


def classes_words(recognition: ClassRecognition) -> str:
    """``zero-shot names the class of 12.0 % of images (95 %: 8.1 to 17.3; chance 20.0)``."""
    return f"zero-shot names the class of {_share_words(recognition)} of images ({_beside_share(recognition)})"


def _share_words(recognition: Recognition) -> str:
    return f"{100 * recognition.level.effect:.1f} %"


def _beside_share(recognition: Recognition) -> str:
    """``95 %: 12.1 to 30.2; chance 16.7``."""
    low, high = recognition.level.level_interval()
    interval = "no interval"
    if not math.isnan(low):
        interval = f"95 %: {100 * low:.1f} to {100 * high:.1f}"
    return f"{interval}; chance {100 * recognition.chance:.1f}"
