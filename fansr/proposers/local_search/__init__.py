"""Evolution of whole expressions: genomes, their canonical forms, random and aimed changes, islands.

Begin with evolve.py, the proposer, and island.py, one population; genomes.py says what a genome is.
"""
