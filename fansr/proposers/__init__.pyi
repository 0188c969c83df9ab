# What other packages may import from this one.
from .calendar_waves import calendar_columns as calendar_columns, prior_nats as prior_nats
from .parts.candidates import fvu_of as fvu_of
