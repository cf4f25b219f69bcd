"""The package's own engine behind OpenAI's chat interface, for other machines and for a fleet."""
