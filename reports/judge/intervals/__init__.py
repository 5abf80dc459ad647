"""The variances of differences and of their means."""
