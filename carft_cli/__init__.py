"""The commands, one file a group: parse, call, print. Heavy imports happen inside them."""
