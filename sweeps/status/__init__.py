"""How far a sweep is: the state on disk, the progress display, event files for other tools."""
