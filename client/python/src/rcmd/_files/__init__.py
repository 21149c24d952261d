"""Copies of files, which the program `rcmd-client` makes."""
