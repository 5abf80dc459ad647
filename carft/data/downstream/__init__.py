"""The nine downstream data sets and their tasks."""
