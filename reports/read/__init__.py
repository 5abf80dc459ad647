"""Stage 1: a results folder as a frame of cells, outcomes and notes.

It imports no other stage.
"""
