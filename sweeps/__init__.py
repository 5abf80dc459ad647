"""Many cells on a Ray cluster: the protocol, the search, the launch."""
