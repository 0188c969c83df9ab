# What other packages may import from this one.
from . import (
    fitted as fitted,
    plot as plot,
    plot_style as plot_style,
    printed_report as printed_report,
    report_page as report_page,
    result as result,
)
