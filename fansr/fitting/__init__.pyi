# What other packages may import from this one.
from .problem import Budget as Budget, Candidate as Candidate, Problem as Problem
from .refiner import FULL as FULL, Refiner as Refiner, Schedule as Schedule
