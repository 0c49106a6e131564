"""A pretrained model and token ids in; probes, drift, fine-tuning, predictions and metrics out."""
