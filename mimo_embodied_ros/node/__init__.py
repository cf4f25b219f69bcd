"""The lifecycle node ``mimo_embodied``: a resident model behind actions, services and topics."""
