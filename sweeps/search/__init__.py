"""The protocol of a search: which cell runs next, which trial wins, what is confirmed.

``observe`` (``observation``) makes a ``State`` from records. ``StudyProgress`` (``progress``) is a pure function of it:
trials, winner, next jobs. ``Protocol`` (``protocol``) hands these jobs out. What a trial tries is ``suggest``
(``sampler``). The rule by which a winner is selected is :func:`carft.spec.selection.ranked`, since reports check it
too. Nothing here knows Ray. It may import ``sweeps.recipes`` and ``carft``.
"""
