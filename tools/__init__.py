"""Chores of the repository: rendered pages, pictures, the table of speed. Not in the wheel."""
