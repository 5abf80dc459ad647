"""Tasks on your own data: a folder tree or a table, named in a tasks file."""
