"""Pages for people: HTML, Markdown, LaTeX, and the manifest of a report.

It may import every other room of ``reports``.
"""
