"""What a sweep takes before it starts: cells, steps, time, disk."""
