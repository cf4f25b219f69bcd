"""The embedded model: its questions about drawn worlds, its training, and its evaluation."""
