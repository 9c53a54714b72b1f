"""Few labelled structures to a model of their own: candidates, held-out errors, and the choice between them."""
