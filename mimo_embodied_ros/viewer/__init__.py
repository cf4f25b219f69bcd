"""The node ``mimo_viewer``: draws the answers of ``mimo_embodied``."""
