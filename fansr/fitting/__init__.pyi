# What other packages may import from this one.
from . import losses as losses
from .curve_fitting import CurveFitter as CurveFitter
from .levenberg_marquardt import Schedule as Schedule
from .loss_aims import Aim as Aim
from .loss_refiner import LossRefiner as LossRefiner
from .problem import Budget as Budget, Candidate as Candidate, Problem as Problem
from .refiner import FULL as FULL, Refiner as Refiner
