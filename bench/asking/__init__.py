"""Ways of asking the network within a search, for network_worth.py."""
