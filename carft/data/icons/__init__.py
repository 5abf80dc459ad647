"""The built-in world: icons drawn in contexts, so that everything runs without downloads."""
