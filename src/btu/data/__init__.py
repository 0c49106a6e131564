"""Files, folders, frames and data sets in, a checked `Corpus` out; and a corpus back to a file."""
