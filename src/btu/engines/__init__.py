"""Parquet shards in; the words of all rows out, read here or on many machines."""
