"""Measure a model on a dataset of one's own, with the metrics that the benchmarks publish."""
