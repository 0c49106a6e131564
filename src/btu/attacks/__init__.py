"""Published attacks, to measure defences with: text in, triggered text out, the truth beside it."""
