"""The parts of the networks: radial weights, mixing, gates and readout."""
