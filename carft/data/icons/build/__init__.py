"""Builder of the drawings that ship with the icons world. A developer's command: ``python -m carft.data.icons.build``.

It reads the npm package ``@iconify/json``, draws every glyph whose name matches a class, merges near-duplicates, deals
the drawings to splits, and writes ``drawings.npz`` and ``drawings.csv``. Nothing else of the project imports it.
"""
