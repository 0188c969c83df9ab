"""Cases of bench.controls, a list CASES for each sort of control."""
