"""Evaluate a model on a dataset, with the metrics of the published benchmarks."""
