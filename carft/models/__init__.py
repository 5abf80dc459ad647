"""CLIP models: their weights, the two heads that prompts give, and the network that is fine-tuned.

It may use ``core``, ``data`` and ``spec``. ``methods``, ``training``, ``posthoc`` and code in workers may import it.
"""
