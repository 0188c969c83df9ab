# What other packages may import from this one.
from .angles_in_degrees import (
    angle_nats as angle_nats,
    degree_columns as degree_columns,
    target_in_degrees as target_in_degrees,
    with_degrees_told as with_degrees_told,
)
from .calendar_waves import calendar_columns as calendar_columns, prior_nats as prior_nats, words_of as words_of
from .parts.candidates import fvu_of as fvu_of
