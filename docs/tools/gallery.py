"""The gallery: 15 real tables worked with fansr-fit, each a page with its command, what it printed and its picture.

    python docs/tools/gallery.py OUT [NAME ...]

What is known of each table stands here as published; answers come from a run.  `EXAMPLES[name].check(printed)` says whether the
published law was found (tests/docs/test_gallery.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Example(NamedTuple):
    """One table: `title`, `options` of fansr-fit after the file, `story` before the answer and `reading` after it.

    `known`: (pattern of a line that is printed, published values of its groups, relative tolerance); or the FVU of the published
    law, which the one found is to reach.
    """

    title: str
    table: str
    story: str
    reading: str
    known: tuple[str, tuple[float, ...], float] | float
    options: tuple[str, ...] = ()

    def check(self, printed: str) -> str:
        """What is wrong with the answer, or ""."""
        if isinstance(self.known, float):
            fvu = float(re.search(r"FVU (\S+)", printed).group(1))
            return "" if fvu <= self.known else f"FVU {fvu:g} where {self.known:g} is published:\n{printed}"
        pattern, values, tolerance = self.known
        number = r"(-?[\d.]+(?:e[-+]?\d+)?)"
        found = re.search(pattern.replace("NUMBER", number), printed)
        if not found:
            return f"no line like {pattern!r} in\n{printed}"
        for text, value in zip(found.groups(), values, strict=True):
            if abs(float(text) - value) > tolerance * abs(value):
                return f"{text} where {value:g} within {100 * tolerance:g} % is published, in {found.group()!r}"
        return ""


EXAMPLES = {
    "planets": Example(
        "Kepler's third law, 1619",
        "planets",
        "Axes of the planets' orbits in astronomical units and their periods in days, of NASA's fact sheets. Kepler took years to see it.",
        "A planet at 1 au takes a year: the constant is 365.25 days, less what the pull of the giants and rounded elements leave open.",
        (r"period_days = NUMBER\*semi_major_axis_au\*\*1\.5", (365.25,), 0.002),
    ),
    "galilean_moons": Example(
        "Four moons of Jupiter",
        "galilean_moons",
        "The same law about another body, from four rows. Four rows cannot tell much, and a law of one constant is all they are allowed.",
        "With $4\\pi^2/c^2$ in place and units converted, the constant weighs Jupiter.",
        (r"period_days = NUMBER\*semi_major_axis_km\*\*1\.5", (6.46e-9,), 0.001),
    ),
    "hydrogen": Example(
        "The lines of hydrogen, 1888",
        "hydrogen_lines",
        "Wavelengths of nine lines of the Lyman and Balmer series and the two whole numbers that Rydberg gave each.",
        "The constant is one over Rydberg's, 91.1763 nm for hydrogen; what is left is fine structure. The remark is right: the formula has no value "
        "where both numbers are equal.",
        (r"wavelength_nm = NUMBER/\(1/n_lower\*\*2 - 1/n_upper\*\*2\)", (91.1763,), 1e-4),
    ),
    "galileo": Example(
        "Galileo's falling balls, 1608",
        "galileo_1608",
        "A ball rolls down a ramp from a height, leaves the table level and lands a distance away. Galileo wrote five pairs on a sheet that was "
        "found in 1972 (folio 116v); lengths are in *punti*, a little under a millimetre.",
        "Level speed grows as the root of the height fallen, so the distance does. Five rows with an error of a percent or two do not force that: "
        "a straight line is a token shorter. The root stands on the front, and physics chooses it. This is what the front is for.",
        (r"NUMBER\*sqrt\(height_punti\)", (47.0,), 0.02),
    ),
    "boyle": Example(
        "Boyle's law, 1662",
        "boyle_1662",
        "Volume of air under a column of mercury, in quarter inches of tube, and its pressure in inches of mercury, as Boyle printed them.",
        "One constant for 25 rows. The longer laws of the front follow the ruler's sixteenths of an inch and are not worth their tokens.",
        (r"pressure_inhg = NUMBER/volume", (1408,), 0.003),
    ),
    "ohm": Example(
        "Ohm's law, 1826",
        "ohm_1826",
        "Wires of eight lengths close a circuit with a thermo-electric pile, a magnetic needle shows the current.",
        "Ohm's own constants were 7285 and 20.25: the driving force, and the resistance of the rest of the circuit in inches of wire.",
        (r"deflection = NUMBER/\(length_inches \+ NUMBER\)", (7285, 20.25), 0.02),
    ),
    "forbes": Example(
        "Boiling point and barometer, 1857",
        "forbes_1857",
        "James Forbes boiled water in the Alps and in Scotland, to read the height of a mountain off a thermometer instead of a barometer, which "
        "was hard to carry whole. Textbooks of regression call row 12 an outlier.",
        "`--robust` sets rows aside that no law explains, and names them. A plain fit would bend a law around row 12.",
        (r"set aside as an outlier \(row (12)\)", (12,), 0.0),
        ("--robust",),
    ),
    "hubble": Example(
        "The expanding universe, 1929",
        "hubble_1929",
        "Distances and velocities of 24 nebulae, as Hubble printed them. His distances were far too short, which does not touch the law.",
        "A line through the origin, and a verdict that says how much of the spread is left: 62 %. Longer laws fit better and are not believed.",
        (r"velocity_km_s = NUMBER\*distance_mpc", (424,), 0.01),
    ),
    "microwave_background": Example(
        "The microwave background, 1996",
        "cmb_firas_errors",
        "43 intensities with their errors, measured by the satellite COBE. Planck's law with one temperature is what theory asks for.",
        "The constant in the exponential is $hc/kT$ in centimetres: 0.5280 is 2.725 K. Errors were stated, so $\\chi^2$ judges.",
        (r"intensity_mjy_sr = NUMBER\*wavenumber_per_cm\*\*3/\(exp\(NUMBER\*wavenumber_per_cm\) - 1\)", (39.73, 0.5280), 0.001),
        ("--sigma", "sigma_mjy_sr"),
    ),
    "water_vapour": Example(
        "The pressure of water vapour",
        "water_vapour",
        "Saturation pressure from steam tables, four to five digits over five decades. Clausius and Clapeyron give $e^{a - b/T}$, good to a few percent.",
        "The digits support more than Clausius and Clapeyron: a longer law comes some thousand times closer and is chosen, and theirs "
        "stands on the front. Neither is the last word; steam tables come from formulas of dozens of terms.",
        (r"NUMBER\*exp\(-NUMBER/temperature_k\)", (7.8e7, 5057), 0.01),
    ),
    "filament": Example(
        "A glowing filament",
        "filament",
        "Energy radiated by a carbon filament against temperature in thousands of kelvin: six rows, a reference data set of NIST, whose model is "
        "$a T^b$.",
        "Stefan and Boltzmann's fourth power holds for a black body; this one gains less. In these units a power with factor 1 less a small "
        "offset is as short as $a T^b$ and fits better, so it is what six rows ask for.",
        4.3173e-3 / 7.6137,  # NIST: certified residual sum over that of the mean,
    ),
    "oxygen_demand": Example(
        "Oxygen demand of a river",
        "oxygen_demand",
        "Six rows with a noise of a tenth: biochemical oxygen demand by days of incubation. The model of the book is $a\\,(1 - e^{-bt})$.",
        "Six noisy rows support little: a law of one constant fits better than the book's of two. If you know that it saturates, take such "
        "a law from the front, or measure later days.",
        1168.0 / 9771.5,
    ),
    "puromycin": Example(
        "An enzyme's rate, 1974",
        "puromycin",
        "Rates of a reaction by the concentration of its substrate, each concentration measured twice. Michaelis and Menten's law is "
        "$a c/(b + c)$.",
        "$a = 212.7$ and $b = 0.0641$ are the least-squares values of the book.",
        (r"rate_counts_min2 = NUMBER\*concentration_ppm/\(concentration_ppm \+ NUMBER\)", (212.68, 0.06412), 0.005),
    ),
    "stopping_distance": Example(
        "Stopping a car of the 1920s",
        "stopping_distance",
        "Speed and stopping distance of 50 cars. Reaction and braking together make $a v + b v^2$.",
        "The scatter of drivers and brakes hides the square: half of the spread stays unexplained, and a straight line through the origin "
        "describes as well what there is. The front offers the power $v^{1.37}$ between the two.",
        0.41,
    ),
    "census": Example(
        "The people of the United States, 1790 to 2020",
        "us_census",
        "Twenty-four counts of the census, in millions. There is no law of nature here; a formula can still describe.",
        "A parabola that begins near 1790 describes two centuries within 3 %: each decade adds a constant amount more than the one before. "
        "Nothing warrants it beyond 2020.",
        0.0015,
    ),
}  # fmt: skip


def command(example: Example, picture: str = "") -> list[str]:
    """Words of the command that works an example."""
    return ["fansr-fit", f"data/{example.table}.csv", *example.options, *(("--plot", picture) if picture else ())]


def answer(example: Example, picture: Path | None = None) -> str:
    """What fansr-fit prints, without seconds, which differ each time."""
    words = command(example, "" if picture is None else str(picture))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "bin/fansr-fit"), *words[1:], "-q"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r", [\d.]+ s after [\d.]+ s loading", "", done.stdout).rstrip()


def page(name: str, folder: Path) -> None:
    """The page of one example and its picture."""
    example = EXAMPLES[name]
    printed = answer(example, folder / f"{name}.png")
    lines = [
        f"# {example.title}", "", example.story, "",
        "```sh", " ".join(command(example)), "```", "",
        "```text", printed, "```", "",
        f"![{example.title}: fit, residuals and front]({name}.png)", "",
        example.reading, "",
        "[All tables](index.md)", "",
    ]  # fmt: skip
    (folder / f"{name}.md").write_text("\n".join(lines))


def write(folder: Path, names=tuple(EXAMPLES)) -> None:
    """Pages and pictures of the named examples, and the page that lists all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        page(name, folder)
    rows = []
    for name in names:
        law = (folder / f"{name}.md").read_text().partition("```text\n")[2].splitlines()
        verdict = next(line for line in law if line.startswith("  ")).strip().partition(":")[0]
        rows.append(f"| [{EXAMPLES[name].title}]({name}.md) | `{law[0]}` | {verdict} |")
    (folder / "index.md").write_text(
        "# Gallery\n\nFifteen real tables, each worked by one command, with nothing chosen by hand. Where the textbook's law is not what "
        "came out, the page says why. The tables with their sources are in `data/`.\n\n| table | law found | verdict |\n|---|---|---|\n"
        + "\n".join(rows) + "\n"
    )  # fmt: skip


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:] or tuple(EXAMPLES))
