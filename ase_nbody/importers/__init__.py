"""Potentials from models of other packages."""
