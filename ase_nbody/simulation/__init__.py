"""Molecular dynamics, relaxations and nudged elastic bands with any ASE calculator; nothing here prints."""
