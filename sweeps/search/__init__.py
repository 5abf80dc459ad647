"""The protocol of a search: which cell runs next, which trial wins, what is confirmed.

It is a pure function of records and knows no Ray. It may import ``sweeps.recipes`` and ``carft``.
"""
