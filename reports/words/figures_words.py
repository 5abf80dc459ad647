"""Words of pictures: prompts as labels, and text alternatives."""


def prompt_words(prompt: str) -> str:
    """A prompt as a label: ``a sketch of a {}.`` is "a sketch of a [class]"."""
    return prompt.replace("{}.", "{}").replace("{}", "[class]").strip()


def picture_words(label_words: str, context: str, task: str = "") -> str:
    """The text alternative of a picture: its class, its context where it is known, and its task."""
    words = label_words
    if context:
        words += f", {prompt_words(context)}"
    if task:
        words += f", from {task}"
    return words
