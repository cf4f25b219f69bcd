"""The embedded model: drawn scenes, questions about them, training and evaluation."""
