"""The commands: each file parses, calls and prints. Heavy imports happen inside commands."""
