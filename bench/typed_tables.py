"""Tables as a newcomer types them: few rows, a name for every column, numbers of three to five digits, noise of an instrument.

    bin/bench-typed-tables --time 5 --each
    bin/bench-typed-tables --held --time 5

Each law of a textbook is drawn over its columns, some noise is added, everything is rounded and written as CSV, and the command is run on
the file as anybody would.  A law *predicts* when it agrees with the truth on nine of ten fresh rows of the same ranges to within three times a third
of the noise, or twice what fitting the truth's constants to the rows leaves, and the last digits; it *is* the law when it agrees on rows of
ranges half as wide again to within three times the noise.  The first group was looked at while the search was developed; the
second was written before anything was run on it, and only measures.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from fansr.cli import command
from fansr.errors import DataError
from fansr.expressions import evaluate, free, from_infix
from fansr.streams import rng_for

FRESH = 400
WELL, FITTED = (
    0.1,
    4.0,
)  # of the noise's variance that a law found may miss the truth by, or so many times constants over rows
ROUNDED = 2.0  # times what rounding leaves
MOST, WIDER = (
    0.9,
    0.25,
)  # of the fresh rows; of a range, added on both sides to tell the law from one that does as well within
ROOT = Path(__file__).resolve().parent.parent


class Table(NamedTuple):
    """A law and how it is drawn: columns `a=0:57:3` (a grid), `a~1:9` (evenly), `a^1:1e6` (evenly in its logarithm), `a#0:90` (whole
    numbers), the target with its formula, noise (`5%` of each value, or of a size), significant digits, and rows where no column is a grid."""

    name: str
    columns: str
    law: str
    noise: str = "0"
    digits: int = 4
    rows: int = 50


FIRST = [
    Table("cooling", "minutes=0:57:3", "temp_C = 68*exp(-0.047*minutes) + 21.5", "0.2"),
    Table("logistic growth", "day=0:24:1", "size = 840/(1 + exp(-0.46*(day - 11.2)))", "6"),
    Table("lens", "object_cm~12:60", "image_cm = 10*object_cm/(object_cm - 10)", "0.3%"),
    Table("gas of van der Waals", "V_L~0.4:3 T_K~280:400", "p_bar = 0.083145*T_K/(V_L - 0.0427) - 3.64/V_L**2", "0", 5),
    Table("vapour pressure", "T_C=10:95:5", "P_mmHg = 10**(8.07131 - 1730.63/(233.426 + T_C))", "0", 5),
    Table("dose and response", "dose^0.1:50", "response = 96*dose**2/(18.5 + dose**2)", "0.8", 3, 14),
    Table("damped swing", "t=0:10:0.1", "x = 4.2*exp(-0.31*t)*cos(2.7*t)", "0.02"),
    Table("tide", "hour=0:72:0.5", "level = 2.1 + 1.4*cos(0.5059*hour - 0.6) + 0.35*cos(0.25295*hour + 0.8)", "0.03"),
    Table("seasons", "day=1:365:5", "temp = 10.4 + 9.1*sin(0.0172024*(day - 108))", "0.8", 3),
    Table("interest", "P~100:5000 r~0.01:0.09 years#1:30", "A = P*(1 + r)**years", "0", 6),
    Table("resistors", "R1~10:500 R2~10:500", "R = R1*R2/(R1 + R2)", "0.5%"),
    Table("body mass", "kg~45:120 cm~150:200", "bmi = 10000*kg/cm**2", "0", 3),
    Table("body surface", "kg~45:120 cm~150:200", "m2 = 0.007184*kg**0.425*cm**0.725", "0"),
    Table("Doppler", "f~200:900 v~-60:60", "heard = 343*f/(343 - v)", "0", 5),
    Table("time dilation", "beta~0:0.98", "gamma = 1/sqrt(1 - beta**2)", "0", 5, 25),
    Table("capacitor", "V0~3:12 t_s~0:5 R_ohm~1:10 C_F~0.1:1", "V = V0*exp(-t_s/(R_ohm*C_F))", "0"),
    Table("projectile", "v~5:40 angle_deg#5:85", "range_m = v**2*sin(2*pi/180*angle_deg)/9.81", "0.3%"),
    Table("polariser", "angle_deg=0:90:5", "I = 8.3*cos(pi/180*angle_deg)**2", "0.03", 3),
    Table("refraction", "i_deg=5:77:3", "r_deg = 180/pi*asin(sin(pi/180*i_deg)/1.333)", "0"),
    Table("tax", "income#5000:90000", "tax = 0.2*max(income - 12000, 0) + 0.2*max(income - 45000, 0)", "0", 7, 60),
    Table("pendulum", "length_m~0.2:2.5", "period_s = 2*pi*sqrt(length_m/9.81)", "0.4%", 3),
    Table("radiation", "T_K~300:1500", "W = 5.67e-8*T_K**4", "1%"),
    Table("Arrhenius", "T_K=290:374:6", "k = 2.1e10*exp(-7200/T_K)", "2%", 3),
    Table("Coulomb", "q1_uC~1:9 q2_uC~1:9 d_m~0.1:2", "F_N = 8.9875e-3*q1_uC*q2_uC/d_m**2", "1%"),
    Table("Atwood", "m1~1:50 m2~1:50", "a = 9.81*(m1 - m2)/(m1 + m2)", "0"),
    Table("braking", "mph=5:75:5", "feet = 1.1*mph + 0.05*mph**2", "0"),
    Table("Gaussian spot", "x~-3:3 y~-3:3", "z = 5*exp(-(x**2 + y**2)/2)", "0.02"),
    Table("two compartments", "t_h^0.25:24", "C = 11.2*(exp(-0.13*t_h) - exp(-1.1*t_h))", "2%", 3, 16),
    Table("parabola of years", "year=1960:2023:1", "ppm = 310 + 0.0128*(year - 1940)**2", "0.4", 5),
    Table("seasons on a rise", "year=1990:1999.92:0.08333", "ppm = 354 + 1.55*(year - 1990) + 2.9*sin(2*pi*year + 0.6)", "0.25", 6),
    Table("cosine rule", "a~2:20 b~2:20 gamma_deg#10:170", "c = sqrt(a**2 + b**2 - 2*a*b*cos(pi/180*gamma_deg))", "0"),
    Table("incline", "angle_deg=5:59:3", "a = 9.81*(sin(pi/180*angle_deg) - 0.2*cos(pi/180*angle_deg))", "0.02", 3),
    Table("tree", "distance~20:200 angle_deg#1:80", "height = 1.6 + distance*tan(pi/180*angle_deg)", "0"),
    Table("Bernoulli", "p_kPa~90:110 rho~800:1200 v~0.5:5", "total = p_kPa + rho*v**2/2000", "0", 5),
    Table("impedance", "R~10:200 L_H~0.01:0.2 C_uF~5:100 f_Hz~40:400", "Z = sqrt(R**2 + (2*pi*f_Hz*L_H - 1e6/(2*pi*f_Hz*C_uF))**2)", "0", 5, 80),
    Table("Gompertz", "day=0:40:2", "size = 1200*exp(-5.1*exp(-0.16*day))", "1%"),
    Table("failures", "hours=0:48:2", "failed = 1 - exp(-(hours/21)**1.8)", "0.006", 3),
    Table("power and offset", "x~1:30", "y = 12 + 0.8*x**1.4", "0.5%", 4, 40),
    Table("Manning", "n~0.01:0.05 R_m~0.2:3 S~0.0005:0.01", "V = R_m**(2/3)*sqrt(S)/n", "0"),
    Table("buffer", "A~0.01:1 HA~0.01:1", "pH = 4.76 + log(A/HA)/log(10)", "0.01", 4, 30),
    Table("inhibitor", "S~0.5:50 I#0:10", "v = 85*S/(6.2*(1 + I/3.1) + S)", "1.5%", 3),
    Table("profit", "price~5:20 cost~1:5 quantity#10:1000", "profit = (price - cost)*quantity - 1500", "0", 9),
    Table("ideal gas", "n_mol~0.1:3 T_K~250:400 V_L~1:50", "P_kPa = 8.314*n_mol*T_K/V_L", "0.4%"),
    Table("thermistor", "R_kohm^0.9:33", "T_K = 1/(1/298.15 + log(R_kohm/10)/3950)", "0", 5, 12),
    Table("falling with drag", "t=0:11.5:0.5", "v = 23.5*tanh(9.81/23.5*t)", "0.1", 3),
    Table("stopping", "v~5:40 mu~0.2:0.9", "d = 1.2*v + v**2/(2*9.81*mu)", "0"),
    Table("rocket", "ve~2000:4500 m0~100:900 m1~10:90", "dv = ve*log(m0/m1)", "0", 5, 30),
    Table("resonance", "f=90:130:1", "A = 38/((f - 108.3)**2 + 6.1)", "0.03"),
    Table("peak on a line", "ch=0:49:0.8", "counts = 40 - 0.3*ch + 120*exp(-((ch - 23.7)/3.3)**2)", "2"),
    Table("decibel", "I^1e-11:0.1", "L_dB = 10*log(I/1e-12)/log(10)", "0", 4, 30),
    Table("divider", "Vin~1:12 R1~1:100 R2~1:100", "Vout = Vin*R2/(R1 + R2)", "0.4%"),
    Table("growth of fish", "age=1:15:1", "cm = 61*(1 - exp(-0.23*(age + 0.7)))", "0.5", 3),
    Table("spring with mass", "m~1:9 M~20:90 k~2:40", "T = 2*pi*sqrt((M + m/3)/k)", "0"),
]  # fmt: skip
HELD = [
    Table("oscillator", "k~10:400 m~0.1:5", "f_Hz = sqrt(k/m)/(2*pi)", "0"),
    Table("one dose", "t=0:19:1", "C = 42*exp(-t/6.3)", "2%", 3),
    Table("wire", "L_m~0.5:3 d_mm~0.1:2 rho~1:10", "R = 0.04*rho*L_m/(pi*d_mm**2)", "0"),
    Table("banked turn", "v~1:30 r~5:80", "tan_bank = v**2/(9.81*r)", "0.4%", 3),
    Table("speed of sound", "T_C=-40:50:5", "v = 331.3*sqrt(1 + T_C/273.15)", "0.2"),
    Table("saturated vapour", "T_C=0:100:5", "P_kPa = 0.61094*exp(17.625*T_C/(T_C + 243.04))", "0"),
    Table("learning", "trial=1:40:1", "seconds = 38*trial**(-0.32)", "3%", 3),
    Table("free fall", "h_m~1:80", "t_s = sqrt(2*h_m/9.81)", "0.02", 3),
    Table("battery", "E~1:20 R~1:50 r~0.5:5", "P = E**2*R/(R + r)**2", "0", 4, 60),
    Table("diagonal", "a~1:9 b~1:9 c~1:9", "d = sqrt(a**2 + b**2 + c**2)", "0"),
    Table("collision", "m1~1:9 m2~1:9 v1~-9:9 v2~-9:9", "u1 = ((m1 - m2)*v1 + 2*m2*v2)/(m1 + m2)", "0", 4, 60),
    Table("substrate inhibition", "S^0.02:10", "mu = 0.9*S/(0.31 + S + S**2/4.2)", "1.5%", 3, 14),
    Table("day's temperature", "hour=0:94:2", "temp = 36.8 + 0.45*cos(2*pi/24*(hour - 17))", "0.05"),
    Table("month's sales", "month#1:12", "sales = 120 + 31*sin(2*pi/12*month + 1.1)", "4", 4, 48),
    Table("mixing", "x~0.02:0.98 T~250:350", "g = 0.008314*T*(x*log(x) + (1 - x)*log(1 - x))", "0", 4, 60),
    Table("Boyle", "V_L~0.5:6", "p_kPa = 203/V_L", "0.6%", 3),
    Table("lamp", "cm~2:40", "lux = 15400/cm**2", "2%", 3),
    Table("cost", "q~1:100", "cost = 250 + 12.5*q + 0.08*q**2", "2", 5),
    Table("first order", "A0~1:9 k~0.1:0.9 t~0:10", "A = A0*exp(-k*t)", "0"),
    Table("Langmuir", "p~0.1:5", "theta = 2.4*p/(1 + 2.4*p)", "1%", 3),
    Table("conduction", "k~0.02:2 A~1:30 dT~5:80 L~0.05:0.5", "Q = k*A*dT/L", "0"),
    Table("grating", "lambda_nm~400:700 d_um~1.5:5 order#1:2", "angle_deg = 180/pi*asin(order*lambda_nm/(1000*d_um))", "0", 4, 60),
    Table("slit", "x~0.1:12.5", "I = (sin(x)/x)**2", "0.004"),
    Table("orbit", "a~1:30 e~0.02:0.9 nu_deg#0:359", "r = a*(1 - e**2)/(1 + e*cos(pi/180*nu_deg))", "0", 5, 60),
    Table("population", "year=1950:2020:5", "millions = 41*exp(0.0187*(year - 1950))", "1%"),
    Table("transistors", "year=1971:2011:2", "count = 2300*2**((year - 1971)/2)", "15%", 3),
    Table("earthquakes", "M~3:8.5", "E_J = 10**(4.8 + 1.5*M)", "0"),
    Table("low pass", "R~1:20 C~0.01:0.5 omega~1:200", "gain = 1/sqrt(1 + (omega*R*C)**2)", "0"),
    Table("beam", "b~2:9 h~2:9", "I = b*h**3/12", "0"),
    Table("fare", "km#0:100", "fare = 3.5 + 1.2*max(km - 10, 0)", "0", 5),
    Table("metabolism", "kg~45:110 cm~150:195 age#18:80", "kcal = 10*kg + 6.25*cm - 5*age + 5", "0.5", 5),
    Table("evaporation", "T~20:40 v~0.5:8 rh~20:90", "E = (0.3 + 0.12*v)*(1 - rh/100)*T", "0", 4, 60),
]  # fmt: skip


def drawn(table: Table, rng: np.random.Generator, rows: int, wider: float = 0.0) -> tuple[list[str], np.ndarray]:
    """(names, X (rows, D)) of fresh rows, a grid drawn evenly between its ends; wider: share of a range added on both sides, sizes staying sizes."""
    names, columns = [], []
    for word in table.columns.split():
        at = min(k for k, letter in enumerate(word) if letter in "=~^#")
        low, high = map(float, word[at + 1 :].split(":")[:2])
        add = wider * (high - low)
        low, high = (max(low - add, low / (1 + 2 * wider)) if low >= 0 else low - add), high + add
        u = rng.random(rows)
        names.append(word[:at])
        x = low * (high / low) ** u if word[at] == "^" else low + (high - low) * u
        columns.append(np.round(x) if word[at] == "#" else x)
    return names, np.column_stack(columns)


def typed(table: Table, rng: np.random.Generator) -> tuple[list[str], str, np.ndarray, np.ndarray, np.ndarray]:
    """(names, target, rows as typed (M, D + 1), the truth on them (M,), its noise's size (M,))."""
    grid = [word.partition("=")[2] for word in table.columns.split() if "=" in word]
    if grid:
        low, high, step = map(float, grid[0].split(":"))
        X = np.arange(low, high + step / 2, step)[:, None]
        names = [table.columns.partition("=")[0]]
    else:
        names, X = drawn(table, rng, table.rows)
    target, truth = _law(table, names, X)
    size = float(table.noise.rstrip("%")) * (np.abs(truth) / 100 if table.noise.endswith("%") else np.ones(len(truth)))
    y = truth + size * rng.standard_normal(len(truth))
    rows = np.array([[_short(v, 6 if grid else 4) for v in row] for row in X])
    return names, target, np.column_stack([rows, [_short(v, table.digits) for v in y]]), truth, size


def _short(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _law(table: Table, names: list[str], X: np.ndarray) -> tuple[str, np.ndarray]:
    target, _, formula = table.law.partition(" = ")
    expr, consts = free(from_infix(formula, names))
    return target, evaluate(expr, X, np.array(consts)) + np.zeros(len(X))


def judged(table: Table, seconds: float, seed: int) -> tuple[bool, bool, str, str]:
    """(whether the law predicts, whether it is the law, it, its verdict) of the command on the table."""
    rng = rng_for(seed, f"typed.{table.name}", 0)
    names, target, rows, _, size = typed(table, rng)
    text = ",".join([*names, target]) + "\n" + "".join(",".join(f"{v:.12g}" for v in row) + "\n" for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_text(text)
        call = [sys.executable, str(ROOT / "bin" / "fansr-fit"), str(path), "--time", str(seconds), "--json", "--quiet"]
        done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"{table.name}: fansr-fit ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    answer = json.loads(done.stdout)
    expr, consts = free(from_infix(answer["expression"], names))
    fitted = FITTED * len(free(from_infix(table.law.partition(" = ")[2], names))[1]) / len(rows)

    def agrees(wider: float, allowance: float) -> bool:
        _, fresh = drawn(table, rng, FRESH, wider)
        with np.errstate(all="ignore"):
            _, truth = _law(table, names, fresh)
            missed = np.abs(evaluate(expr, fresh, np.array(consts)) - truth)
            quantum = 10.0 ** (np.floor(np.log10(np.maximum(np.abs(truth), 1e-12))) + 1 - table.digits)
        share = float(table.noise.rstrip("%"))
        noise = np.abs(truth) * share / 100 if table.noise.endswith("%") else share
        allowed = 3 * np.sqrt(allowance * noise**2 + ROUNDED * quantum**2 / 12)
        known = np.isfinite(truth)
        return bool(np.mean((missed <= allowed)[known]) >= MOST)  # not all: constants count for more near a pole

    return agrees(0.0, max(WELL, fitted)), agrees(WIDER, 1.0), answer["expression"], answer["verdict"]


@click.command()
@click.option("--time", "seconds", type=float, default=5.0, show_default=True, help="Seconds of --time a table.")
@click.option("--held", is_flag=True, help="The tables that only measure.")
@click.option("--each", is_flag=True, help="A line for every table.")
@command.seed_option()
def bench_typed_tables(seconds, held, each, seed):
    """How many laws are found in tables as a newcomer types them, and what is said of those that are not."""
    tables = HELD if held else FIRST
    predicting, right, confident = 0, 0, 0
    for table in tables:
        predicts, found, law, verdict = judged(table, seconds, seed)
        predicting += predicts
        right += predicts and found
        confident += not (predicts and found) and verdict == "exact"
        if each or not (predicts and found):
            said = "found" if predicts and found else "predicts" if predicts else "missed"
            click.echo(f"{said:8s}  {table.name:22s} {verdict:8s} {law}")
    click.echo(
        f"\n{right} of {len(tables)} laws found, {predicting} predict as well; of the others {confident} called exact"
    )


def main():
    """The program: wrong data are one line."""
    try:
        bench_typed_tables()
    except DataError as error:
        sys.exit(f"bench-typed-tables: {error}")


if __name__ == "__main__":
    main()
