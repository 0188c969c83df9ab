"""What bench.simplify puts beside fansr's simplifier or through it: SymPy, other spellings, odd input, a judge of soundness."""
