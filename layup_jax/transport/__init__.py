"""What moves messages between workers: the contract, two transports, and the gossip protocol above."""
