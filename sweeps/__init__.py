"""Many cells on a Ray cluster: recipes, searches, their protocol, and how they run."""
