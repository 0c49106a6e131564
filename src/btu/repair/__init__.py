"""Findings and a fine-tuned model in; the cut, its undo, recovery and rows given back out."""
