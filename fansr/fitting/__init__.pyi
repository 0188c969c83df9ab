# What other packages may import from this one.
from .curve_fitting import CurveFitter as CurveFitter
from .levenberg_marquardt import Schedule as Schedule
from .problem import Budget as Budget, Candidate as Candidate, Problem as Problem
from .refiner import FULL as FULL, Refiner as Refiner
