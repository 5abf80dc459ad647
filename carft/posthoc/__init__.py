"""What is made of finished cells: WiSE-FT curves, soups, exported models and null checks of a loss.

The top room of ``carft``: it imports every other room; only ``sweeps`` and the commands import it.
"""
