"""What labelled structures say of a model: how uncertain it is, and which surroundings of atoms it knows."""
