"""What happens when something breaks: locks, signals, watchdogs, storage that is away."""
