"""Texts and labels in; what was planted, how sure, what was missed out.

Nothing here knows a model, a file or a tokenizer.
"""
