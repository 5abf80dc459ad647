"""Recipes: what an experiment runs, as YAML beside the result to expect."""
