"""Jobs on Ray: connection, Tune searcher and actors, Ray Train for cells of several workers.

The only subpackage that imports Ray at module level, besides tests.
"""
