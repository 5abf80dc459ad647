"""What is made of finished cells: WiSE-FT curves, soups, exported models and the context check.

The top subpackage of ``carft``: it imports every other subpackage; only ``sweeps`` and the commands import it.
"""
