"""Structures around given molecules and crystals, to be labelled: one file for each kind of structure."""
