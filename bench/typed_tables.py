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
    Table("parking", "hours~0.1:9.9", "fee = 2 + 1.5*floor(hours)", "0", 4, 40),
    Table("daylight", "day=1:365:7", "hours = 12.2 + 4.4*sin(2*pi*(day - 80)/365)", "0.05"),
    Table("beats", "t_s=0:2:0.01", "x = cos(2*pi*5*t_s) + cos(2*pi*5.5*t_s)", "0.02"),
    Table("charge after a switch", "t=0:4:0.05", "V = max(5*(1 - exp(-(t - 1)/0.6)), 0)", "0.02"),
    Table("epidemic", "S~100:950 I~1:300", "dI = 0.4*S*I/1000 - 0.1*I", "0.2"),
    Table("two substrates", "A~0.5:40 B~0.5:40", "v = 120*A*B/(3*B + 5*A + A*B + 12)", "0.5", 4, 60),
    Table("wind chill", "T_C~-30:8 v_kmh~5:80", "felt = 13.12 + 0.6215*T_C - 11.37*v_kmh**0.16 + 0.3965*T_C*v_kmh**0.16", "0", 4, 60),
    Table("determinant", "a~-5:5 b~-5:5 c~-5:5 d~-5:5", "det = a*d - b*c"),
    Table("centre of mass", "m1~1:9 x1~-5:5 m2~1:9 x2~-5:5", "x = (m1*x1 + m2*x2)/(m1 + m2)", "0", 4, 60),
    Table("loan", "loan#5000:300000 rate~0.002:0.01 months#12:360", "payment = loan*rate/(1 - (1 + rate)**(-months))", "0", 6),
    Table("muscle", "v=0:9:0.5", "F = (100*3 - 25*v)/(v + 3)", "0.5", 3),
    Table("lens maker", "n~1.4:1.9 R1~5:30 R2~40:90", "f = 1/((n - 1)*(1/R1 - 1/R2))", "0", 4, 40),
    Table("black body", "x=0.2:11.8:0.2", "B = 2.3*x**3/(exp(x) - 1)", "0.01"),
    Table("gamma curve", "t_min=0.5:30:0.5", "uptake = 3.1*t_min**2*exp(-t_min/3.4)", "0.3", 3),
    Table("Lennard and Jones", "r=0.95:2.5:0.03", "E = 4*1.2*((1/r)**12 - (1/r)**6)", "0.005"),
    Table("weir", "L_m~1:5 H_m~0.1:0.9", "Q = 1.84*(L_m - 0.2*H_m)*H_m**1.5", "0", 4, 40),
    Table("sublimation", "T_K=200:270:5", "P_Pa = 611*exp(6140*(1/273.16 - 1/T_K))", "1%", 3),
    Table("Rydberg", "n1#1:4 n2#5:12", "inverse_nm = 0.010974*(1/n1**2 - 1/n2**2)", "0", 5, 30),
    Table("toss", "h0_m~0:5 v~2:25 t_s~0:3", "h_m = h0_m + v*t_s - 4.905*t_s**2", "0.05", 4, 40),
    Table("discount", "price~5:200 percent#0:60 number#1:20", "total = number*price*(1 - percent/100)", "0", 6, 40),
    Table("training pulse", "age#18:75 rest#48:85 share~0.4:0.95", "pulse = (220 - age - rest)*share + rest", "0", 3),
    Table("cycling", "m_kg~55:110 v_ms~1:16", "P_W = 0.19*v_ms**3 + 0.045*m_kg*v_ms", "1"),
    Table("Ricker", "N~5:400", "next = N*exp(0.9*(1 - N/150))", "2%", 4, 40),
    Table("nerve", "v~-2.2:2.2 w~-1:1.5 I~0:1", "dv = v - v**3/3 - w + I"),
    Table("Freundlich", "c_mgL^0.5:300", "q = 6.2*c_mgL**0.41", "2%", 3, 20),
    Table("Cobb and Douglas", "labour~10:900 capital~10:900", "output = 1.8*labour**0.7*capital**0.3", "1%", 4, 40),
    Table("savings", "monthly#10:900 rate~0.001:0.01 n#6:300", "saved = monthly*((1 + rate)**n - 1)/rate", "0", 6),
    Table("runs", "runs#400:900 against#400:900", "wins = runs**2/(runs**2 + against**2)", "0.01", 3),
    Table("rectifier", "t=0:0.1:0.001", "V = abs(12*sin(2*pi*50*t))", "0.05"),
    Table("dilution", "C1~1:20 V1~5:100 V2~100:900", "C2 = C1*V1/V2", "0", 3, 30),
    Table("two charges", "pH=2:12:0.25", "charge = 1/(1 + 10**(pH - 6.5)) - 1/(1 + 10**(9.5 - pH))", "0.01", 3),
    Table("log mean temperature", "dT1~5:60 dT2~5:60", "lmtd = (dT1 - dT2)/log(dT1/dT2)", "0", 4, 40),
    Table("membrane", "Ko~2:20 Nao~20:150 Ki~90:150 Nai~5:20", "mV = 26.7*log((Ko + 0.04*Nao)/(Ki + 0.04*Nai))", "0", 4, 80),
    Table("two lenses", "f1~5:30 f2~5:30 d~0.5:4", "f = 1/(1/f1 + 1/f2 - d/(f1*f2))", "0", 4, 60),
    Table("resonant circuit", "L_mH~0.1:50 C_nF~0.1:100", "f_kHz = 1000/(2*pi*sqrt(L_mH*C_nF))", "0.5%", 4, 30),
    Table("Cauchy", "um~0.4:1.1", "n = 1.458 + 0.00354/um**2", "0", 5, 20),
    Table("dielectric", "eps~1.2:20", "x = (eps - 1)/(eps + 2)", "0", 4, 20),
    Table("competition", "N1~5:180 N2~5:90", "dN1 = 0.4*N1*(1 - (N1 + 0.7*N2)/200)", "0.3"),
    Table("clearance", "age#20:90 kg#45:110 creatinine~0.6:4", "ml_min = (140 - age)*kg/(72*creatinine)", "0", 3, 60),
    Table("filtration", "creatinine~0.5:6 age#20:90", "gfr = 175*creatinine**(-1.154)*age**(-0.203)", "0", 3),
    Table("oxygen uptake", "v~80:250 grade~0:0.15", "vo2 = 0.2*v + 0.9*v*grade + 3.5", "0.5", 3, 40),
    Table("log odds", "p~0.03:0.97", "l = log(p/(1 - p))", "0", 4, 25),
    Table("F measure", "precision~0.1:0.99 recall~0.1:0.99", "F = 2*precision*recall/(precision + recall)", "0", 3, 40),
    Table("break even", "fixed#1000:90000 price~5:60 unit_cost~1:4", "units = fixed/(price - unit_cost)", "0", 4, 40),
    Table("queue", "lam~1:9 mu~10:20", "wait = lam/(mu*(mu - lam))", "0", 3, 40),
    Table("capillary", "gamma~0.02:0.08 theta_deg#0:80 r_mm~0.1:2", "h_mm = 2000*gamma*cos(pi/180*theta_deg)/(9.81*r_mm)", "0", 3),
    Table("current in a coil", "t=0:5:0.1", "I = 2.4*(1 - exp(-t/0.9))", "0.02", 3),
    Table("sound and light", "t=0:6:0.05", "x = 3*sin(2*t) + 1.2*sin(5*t)", "0.05", 3),
    Table("heat in a rod", "x=0:1:0.02", "T = 20 + 60*sinh(2.2*(1 - x))/sinh(2.2)", "0.1"),
    Table("diode", "V=0.3:0.75:0.01", "I_mA = 1e-9*(exp(V/0.0259) - 1)", "2%", 3),
    Table("two phases", "T=0:100:2", "L = 10 + 0.02*T + 0.05*max(T - 62, 0)", "0.03"),
    Table("half life", "t_d=0:40:2", "A = 510*0.5**(t_d/8.02)", "1%", 3),
    Table("triangular", "n=1:20:1", "t = n*(n + 1)/2", "0", 6),
    Table("sum of squares", "n=1:15:1", "s = n*(n + 1)*(2*n + 1)/6", "0", 6),
    Table("towers", "discs=1:16:1", "moves = 2**discs - 1", "0", 8),
    Table("Fibonacci", "n=1:20:1", "F = 1.618033988749895**n/sqrt(5)", "0", 6),
    Table("sorting", "n^10:100000", "us = 0.31*n*log(n)", "3%", 3, 25),
    Table("sphere", "r_cm~0.5:9", "V = 4/3*pi*r_cm**3", "0", 5, 20),
    Table("cylinder", "r~0.5:9 h~0.5:20", "S = 2*pi*r**2 + 2*pi*r*h", "0", 5, 40),
    Table("torus", "R~3:9 r~0.2:2.5", "V = 2*pi**2*R*r**2", "0", 5, 40),
    Table("frustum", "R~3:9 r~0.5:2.9 h~1:9", "V = pi*h/3*(R**2 + R*r + r**2)", "0", 5),
    Table("cap", "R~3:9 h~0.2:2.9", "V = pi*h**2*(3*R - h)/3", "0", 5, 40),
    Table("polygon", "n#3:20 s~0.5:9", "A = n*s**2/(4*tan(pi/n))", "0", 5, 40),
    Table("chord", "r~1:9 theta_deg#10:170", "c = 2*r*sin(pi/180*theta_deg/2)", "0", 5, 40),
    Table("ring", "R~3:9 r~0.2:2.9", "A = pi*(R**2 - r**2)", "0", 5, 40),
    Table("cone", "r~0.5:9 h~0.5:9", "S = pi*r*(r + sqrt(r**2 + h**2))", "0", 5),
    Table("horizon", "h_m~1:9000", "d_km = sqrt(2*6371*h_m/1000 + (h_m/1000)**2)", "0", 4, 30),
    Table("gravity", "km=0:20000:500", "g = 9.81*(6371/(6371 + km))**2"),
    Table("escape", "M~0.05:300 R~0.2:11", "v = 11.19*sqrt(M/R)", "0", 4, 30),
    Table("Wien", "T_K~900:9000", "um = 2898/T_K", "0", 4, 25),
    Table("magnitudes", "L^0.001:10000", "M = 4.83 - 2.5*log(L)/log(10)", "0", 4, 30),
    Table("pressure up high", "km=0:30:1", "hPa = 1013*exp(-km/8.4)", "1"),
    Table("barometric", "m=0:9000:300", "hPa = 1013.25*(1 - 2.2558e-5*m)**5.2559", "0", 5),
    Table("lottery", "n#5:50", "ways = n*(n - 1)*(n - 2)/6", "0", 6, 25),
    Table("draining", "s=0:60:2", "cm = (5.2 - 0.06*s)**2", "0.1"),
    Table("ideal pace", "km~1:42", "min_km = 4.1*km**0.065", "0.5%", 3, 30),
    Table("typing", "week=1:20:1", "wpm = 72 - 51*exp(-0.21*week)", "1", 3),
    Table("tea in a thermos", "h=0:24:1", "T = 22 + 66*exp(-0.052*h)", "0.3", 3),
    Table("springs in series", "k1~50:900 k2~50:900", "k = k1*k2/(k1 + k2)", "1%", 4, 30),
    Table("solar panel", "V=0:20:0.5", "I = 5.2 - 1.2e-4*(exp(V/1.9) - 1)", "0.02"),
    Table("microphone", "f^20:20000", "gain = 1/sqrt((1 + (80/f)**2)*(1 + (f/9000)**2))", "0.01", 3, 60),
    Table("yeast", "h=0:18:1", "mass = 665/(1 + exp(4.16 - 0.531*h))", "4"),
]  # fmt: skip
HELD = [
    Table("kilowatt hours", "kWh~20:900", "bill = 9.5 + 0.18*kWh + 0.11*max(kWh - 400, 0)", "0", 5, 40),
    Table("modulated carrier", "t=0:1:0.005", "u = (1 + 0.5*sin(2*pi*3*t))*sin(2*pi*25*t)", "0.02"),
    Table("chirp", "t=0:2:0.01", "s = sin(2*pi*(1.5*t + 2*t**2))", "0.03"),
    Table("thermostat", "minute=0:60:1", "temp = min(14 + 0.45*minute, 31)", "0.2", 3),
    Table("predator and prey", "prey~5:80 fox~2:30", "dprey = 0.6*prey - 0.025*prey*fox", "0.1"),
    Table("heat and humidity", "T~20:40 H~20:90", "felt = -2.5 + 0.9*T - 0.08*H + 0.006*T*H", "0.2", 3, 60),
    Table("Heron", "a~4:6 b~4:6 c~2:7", "area = sqrt((a + b + c)*(a + b - c)*(a + c - b)*(b + c - a))/4", "0", 4, 60),
    Table("distance", "x1~0:50 y1~0:50 x2~0:50 y2~0:50", "d = sqrt((x1 - x2)**2 + (y1 - y2)**2)", "0", 4, 60),
    Table("harmonic mean", "going~20:90 back~20:90", "mean_speed = 2*going*back/(going + back)", "0", 4, 30),
    Table("Nernst", "c_M^0.0001:1", "E_V = 0.34 + 0.01285*log(c_M)", "0.001", 4, 25),
    Table("net radiation", "A~0.5:5 T1~300:900 T2~250:400", "P = 5.67e-8*A*(T1**4 - T2**4)", "0", 4, 40),
    Table("velocities", "u~-0.9:0.9 v~-0.9:0.9", "w = (u + v)/(1 + u*v)", "0", 4, 40),
    Table("speeds of molecules", "v=20:1500:20", "share = 4.1e-6*v**2*exp(-v**2/160000)", "0.002", 3),
    Table("Morse", "r_A=0.8:4:0.05", "E = 4.7*(1 - exp(-1.9*(r_A - 1.3)))**2", "0.01"),
    Table("Kleiber", "kg^0.02:4000", "kcal = 70*kg**0.75", "5%", 3, 30),
    Table("friction", "Re^4000:1e7 rough^0.00001:0.05", "f = (1.8*log((rough/3.7)**1.11 + 6.9/Re)/log(10))**(-2)"),
    Table("loudness and distance", "r_m~1:100", "L_dB = 92 - 20*log(r_m)/log(10)", "0.3", 3, 30),
    Table("Bragg", "lambda_A~0.5:1.6 d_A~2:5", "theta_deg = 180/pi*asin(lambda_A/(2*d_A))", "0", 4, 30),
    Table("fuel", "km#20:900 per100~4:11 price~1.2:2.1", "cost = km*per100*price/100", "0", 4, 40),
    Table("Fahrenheit", "T_F~-20:110", "T_C = (T_F - 32)*5/9", "0", 3, 25),
    Table("one lift", "kg#30:180 reps#1:12", "max_kg = kg*(1 + reps/30)", "0", 4, 40),
    Table("draining tank", "minute=0:40:1", "depth = max(1.5 - 0.05*minute, 0)**2", "0.005", 3),
    Table("Allee", "N~1:130", "dN = 0.02*N*(N/20 - 1)*(1 - N/120)", "0.05"),
    Table("light and algae", "light=0:2000:50", "rate = 21*(1 - exp(-0.0052*light))*exp(-0.0003*light)", "0.15", 3),
    Table("Q ten", "T_C~5:35 R20~1:9", "R = R20*2.1**((T_C - 20)/10)", "1%", 4, 40),
    Table("two inputs", "L~1:40 K~1:40", "Q = (0.4/sqrt(L) + 0.6/sqrt(K))**(-2)"),
    Table("Elo", "A#1200:2600 B#1200:2600", "score = 1/(1 + 10**((B - A)/400))", "0", 4, 60),
    Table("square wave", "t=0:10:0.1", "u = 2*sign(sin(2*pi*t/2.5))", "0.05", 3),
    Table("van Deemter", "u=0.2:6:0.2", "H = 1.2 + 3.4/u + 0.45*u", "0.03", 3),
    Table("two sources", "x=0:9.8:0.2", "I = 3/(1 + (x - 2)**2) + 5/(1 + (x - 7)**2)", "0.03", 3),
    Table("price of diamonds", "carat~0.2:3", "price = 5200*carat**1.7", "4%", 3),
    Table("seepage", "K~0.1:9 A~1:20 dh~0.5:8 L~2:50", "Q = K*A*dh/L", "1%", 3, 40),
    Table("Venturi", "A1~0.02:0.2 A2~0.002:0.015 dp~100:9000", "Q = A2*sqrt(2*dp/(1000*(1 - (A2/A1)**2)))", "0", 4, 60),
    Table("three in parallel", "a~10:300 b~10:300 c~10:300", "R = 1/(1/a + 1/b + 1/c)"),
    Table("heat pump", "Tc~255:285 Th~300:340", "cop = Tc/(Th - Tc)", "0", 3, 30),
    Table("Compton", "E_keV~50:900 theta_deg#10:170", "E2 = E_keV/(1 + E_keV/511*(1 - cos(pi/180*theta_deg)))"),
    Table("heterozygotes", "p~0.02:0.98", "share = 2*p*(1 - p)", "0.01", 3, 25),
    Table("growing degrees", "tmin~-2:18 tmax~8:32", "gdd = max((tmin + tmax)/2 - 10, 0)", "0", 3, 60),
    Table("corrected calcium", "Ca~7:11 albumin~1.5:5", "corrected = Ca + 0.8*(4 - albumin)", "0", 4, 30),
    Table("lipids", "total#140:300 hdl#30:80 tg#60:350", "ldl = total - hdl - tg/5", "0", 4, 40),
    Table("arterial pressure", "systolic#95:180 diastolic#55:110", "mean = (systolic + 2*diastolic)/3", "0", 3, 30),
    Table("effect", "m1~5:20 m2~5:20 s1~1:6 s2~1:6", "d = (m1 - m2)/sqrt((s1**2 + s2**2)/2)", "0", 4, 60),
    Table("bond", "face#100:1000 rate~0.005:0.12 years#1:30", "price = face/(1 + rate)**years", "0", 5),
    Table("order quantity", "demand#100:20000 setup~10:200 holding~0.2:9", "q = sqrt(2*demand*setup/holding)", "0", 4, 40),
    Table("Amdahl", "p~0.3:0.99 n#1:64", "speedup = 1/(1 - p + p/n)"),
    Table("settling", "rho_p~1100:8000 r_um~5:90 mu~0.0008:0.01", "v = 2/9*(rho_p - 1000)*9.81*r_um**2*1e-12/mu", "0", 3),
    Table("drug by mouth", "t_h=0:24:0.5", "C = 9.4*(exp(-0.12*t_h) - exp(-1.4*t_h))", "0.1", 3),
    Table("damped with offset", "t=0:12:0.1", "x = 7 + 2.2*exp(-0.25*t)*sin(3.1*t)", "0.03"),
    Table("catenary", "x=-5:5:0.25", "y = 3.2*cosh(x/3.2) - 3.2", "0.02"),
    Table("fringes", "x_mm=-8:8:0.2", "I = 4*cos(1.1*x_mm)**2*exp(-(x_mm/5)**2)", "0.03", 3),
    Table("mirror", "u~12:60", "v = 1/(1/9.5 - 1/u)", "0.5%", 3, 25),
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
