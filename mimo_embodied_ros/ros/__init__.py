"""What every node shares: messages, images, topics, parameters, transforms and the process."""
