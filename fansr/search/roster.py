"""The proposers by name: where each is, what it needs, and which take part unless others are named."""

# name -> (module, function, share of a time budget).  Shares matter only while several are at work, and large ones only at first.
PROPOSERS = {
    "power": ("fansr.proposers.power", "propose", 8.0),
    "plain": ("fansr.proposers.plain_sums", "propose", 8.0),
    "sums": ("fansr.proposers.few_term_sums", "propose", 8.0),
    "rational": ("fansr.proposers.rational", "propose", 8.0),
    "polynomials": ("fansr.proposers.noisy_polynomials", "propose", 8.0),
    "curves": ("fansr.proposers.one_column_curves", "propose", 8.0),
    "kinks": ("fansr.proposers.kinks", "propose", 8.0),
    "repeats": ("fansr.proposers.repeated_curves", "propose", 8.0),
    "separable": ("fansr.proposers.separable", "propose", 4.0),
    "composite": ("fansr.proposers.composites", "propose", 4.0),
    "library": ("fansr.proposers.library_sums", "propose", 2.0),
    "scan": ("fansr.proposers.inner_constants", "propose", 1.5),
    "peel": ("fansr.proposers.outer_constant", "propose", 3.0),
    "pairs": ("fansr.proposers.two_term_laws", "propose", 1.5),
    "structure": ("fansr.proposers.decomposition", "propose", 6.0),
    "model": ("fansr.network.sample", "propose", 1.0),
    "waves": ("fansr.proposers.waves", "propose", 8.0),
    "control": ("fansr.network.sample", "propose_control", 1.0),
    "evolve": ("fansr.proposers.local_search.evolve", "propose", 24.0),
    "mend": ("fansr.proposers.wrong_parts", "propose", 24.0),  # looks at what the others found
    "angles": ("fansr.proposers.angles_in_degrees", "propose", 24.0),  # where a column's name says degrees
    "groups": ("fansr.proposers.dimensional_groups", "propose", 8.0),  # where a table has units
    "own": ("fansr.proposers.own_functions", "propose", 4.0),  # where functions are defined or asked for
}
NEEDS = {
    "waves": {"sin", "cos"},
    "angles": {"sin", "cos", "tan", "asin", "acos", "atan"},
    "kinks": {"abs", "min", "max", "step"},
}  # a proposer is spared where rules allow none
KERNELS = {
    "evolve": "local search",
    "angles": "local search",
    "model": "sampling",
}  # what they need compiled, besides what every fit needs
# The control (random draws of the model's prior over the columns in use) is the bar for the model.  At equal seconds
# the model finds more of held-out synthetic laws, of published laws and of our own families (data/models/tiny-worth.json);
# within the whole search the two are equal to one law in a hundred.
DEFAULT_PROPOSERS = (
    "power",
    "plain",
    "kinks",
    "sums",
    "curves",
    "repeats",
    "rational",
    "polynomials",
    "separable",
    "composite",
    "waves",
    "evolve",
    "mend",
    "structure",
    "library",
    "scan",
    "peel",
    "pairs",
    "model",
)

# By the clock these start after the local search, which finds more in the first second; by counts, where each goes on to its end, before it.
AFTER_EVOLVE = ("separable", "composite", "waves")

# These run first and whole, by counts: no clock and no load takes the commonest laws away.
FLOOR = ("power", "plain", "kinks", "groups", "own", "sums", "curves")
