"""The cuda back end: kernels as Triton source for the GPU at hand, and neighbours found there."""
