"""Tables: what a table is (``table``), and a module of tables with their cards for each subject.

It may import ``reports.judge.claims`` and below.
"""
