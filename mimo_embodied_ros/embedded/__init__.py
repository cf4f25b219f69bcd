"""The embedded model: questions about drawn worlds, training, and its own evaluation."""
