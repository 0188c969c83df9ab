"""Scaling studies: many training runs planned and run (fansr-sweep), and the laws of what came out (fansr-law).

Begin with sweep_plan.py and sweep.py (what is trained and how it is judged), then curves.py (one law y(x) by its forms),
joint_laws.py (loss over parameters and data, the best ratio), bands.py (bootstrap over runs), findings.py (all that points say)
and law.py, the command, with its pictures in law_picture.py and study_picture.py.  Trains, samples and fits by the commands of
those names; nothing else of the package imports it.
"""
