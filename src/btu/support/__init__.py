"""Errors, progress, whole files, records and settings: tools that know nothing of the field."""
