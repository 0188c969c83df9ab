"""What several proposers use: terms, their sums, undone outer functions, one-dimensional searches, assembly of expressions."""
