"""The protocol of a search: which cell runs next, which trial wins, what is confirmed.

``Protocol`` makes a ``State`` from records; ``StudyProgress`` is a pure function of it: winner, next jobs. ``Protocol``
hands these jobs out. What a trial tries, and which one wins, are functions of ``carft.protocol``: reports check both.
Nothing here knows Ray.
"""
