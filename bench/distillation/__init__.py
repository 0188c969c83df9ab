"""Showcases of distillation: networks trained here, and the laws that fansr.distillation reads out of them.

    bin/distill-gnn  bin/distill-peers  bin/distill-heat  bin/distill-transformer  bin/distill-addition

Each is one program, minutes on one core, that goes on where it was stopped; what they share is steps.py, the simulator of the
graph network's bodies particles.py.
"""
