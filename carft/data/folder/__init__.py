"""Tasks on your own data, ``folder:PATH``."""
