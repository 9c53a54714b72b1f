"""LLVM functions as text, compiled on first use, and programs of them that run in threads."""
