"""What zero-shot recognises of contexts."""

import math

from reports.analysis.levels import ContextRecognition


def recognition_words(recognition: ContextRecognition) -> str:
    """``zero-shot recognises 20.0 % of contexts (95 %: 12.1 to 30.2; chance 16.7)``."""
    low, high = recognition.level.level_interval()
    interval = "no interval"
    if not math.isnan(low):
        interval = f"95 %: {100 * low:.1f} to {100 * high:.1f}"
    share, chance = 100 * recognition.level.effect, 100 * recognition.chance
    return f"zero-shot recognises {share:.1f} % of contexts ({interval}; chance {chance:.1f})"
