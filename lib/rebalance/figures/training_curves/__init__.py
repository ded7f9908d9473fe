"""Losses and learning rate over the training, for every table of trained runs."""
