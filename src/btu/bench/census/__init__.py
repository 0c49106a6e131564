"""Census files and corpora in; what the evidence alone calls poisoned, clean and attacked, out.

No model is trained. `files` reads what is asked for, `rows` makes the rows of a case, `run` counts,
`store` keeps, `table` renders.
"""
