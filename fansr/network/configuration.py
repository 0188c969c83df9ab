"""What a network, its batches and a training run are told: plain values with their defaults, which are the paper's.

Kept in every checkpoint.  Knows nothing of torch, so that options are checked and models are read without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

from fansr.corpus import Prior
from fansr.errors import DataError

EPSILON = 1e-6  # inside the root of every norm; the paper's equation 6 leaves its size open
ROPE_BASE = 10000.0
NORMS = ("rms", "layer", "set")
EXPONENTS = 16.0  # by which the table encoder divides a cell's exponent of two
ENCODERS = ("set", "table")
SCHEDULES = ("wsd", "cosine", "plateau", "decay")
OPTIMIZERS = ("adamw", "muon", "adamcpr")
NOTATIONS = ("skeleton", "prefix", "latex")  # of what the network writes; in all but the first numbers are digits
LARGEST = 1 << 16  # of a model's sizes; a file that claims more is not believed
LAYOUTS = ("replicated", "sharded")  # of weights, gradients and moments over the processes of a joint run
DTYPES = ("float32", "bfloat16")  # of the matrix products while training
CLOCKS = ("wall", "cpu")  # that tells the seconds of a run: everybody's, or this process's on the processor
POINTS_PER = ("batch", "law")  # what has a number of points M of its own


def require_torch(purpose: str) -> None:
    """DataError with what to install where torch, which `purpose` needs, is missing."""
    import importlib.util

    try:
        found = importlib.util.find_spec("torch") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise DataError(
            f"{purpose} needs torch, which is not installed: pip install torch (without a GPU: pip install torch --index-url "
            "https://download.pytorch.org/whl/cpu)"
        )


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes the shapes and the function; ValueError where a value makes no network.

    The defaults are the paper's 3M model (appendix B, Table 3).
    """

    columns: int = 17  # D: most columns, without the target
    bits: int = 32  # 16: half precision, as in earlier work
    width: int = 192  # d, of encoder and decoder
    heads: int = 3
    feed_forward: int = 576
    isab_layers: int = 1
    sab_layers: int = 1
    inducing: int = 128  # I
    seeds: int = 128  # S
    decoder_layers: int = 3
    vocabulary: int = 59
    max_length: int = 64  # longest token sequence, <bos> included
    dropout: float = 0.1
    norm: str = "rms"  # of the sets: rms (equations 6, 7), set (mean and deviation over the set), layer
    post_norm: bool = False
    bit_noise: float = 0.0  # deviation of Gaussian noise on the bits while training
    encoder: str = "set"  # table: cells by mantissa and exponent, attention along rows and columns (arXiv 2510.26064)
    encoder_layers: int = 3  # of the table encoder

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            wanted = {"int": int, "float": (int, float), "str": str, "bool": bool}[f.type]
            if not isinstance(value, wanted) or (isinstance(value, bool) and f.type != "bool"):
                raise ValueError(f"{f.name} is {value!r}; it must be {f.type}")
            least = 1 if f.type == "int" and f.name not in ("isab_layers", "sab_layers") else 0
            most = {"int": LARGEST, "float": 1.0}.get(f.type, 1)
            if f.type != "str" and not least <= value <= most:  # NaN is neither
                raise ValueError(f"{f.name} is {value}; it must be from {least} to {most}")
        if self.norm not in NORMS:
            raise ValueError(f"norm is {self.norm!r}; it must be one of {', '.join(NORMS)}")
        if self.encoder == "table" and self.post_norm:
            raise ValueError(
                "post_norm is an ablation of the set encoder's network; the table encoder's has norms before"
            )
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder is {self.encoder!r}; it must be one of {', '.join(ENCODERS)}")
        if self.bits not in (16, 32):
            raise ValueError(f"bits is {self.bits}; it must be 16 or 32")
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of twice the {self.heads} heads")

    @property
    def plain(self) -> bool:
        """Whether layers are the scaling study's: LayerNorm, biases everywhere, a plain last layer."""
        return self.encoder == "table"

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Settings:
    """How skeletons become numbers."""

    batch: int = 256
    min_points: int = 16
    max_points: int = 64
    # "batch": M is drawn once for all of a batch, so that no point is padding.  "law": for each by itself, as in the paper.
    points_per: str = "batch"
    columns: int = 17  # of the network
    max_length: int = 64  # of its token sequences, <bos> included
    scale_columns: bool = True
    outliers: float = 0.0  # chance that a table has points whose target is far off
    notation: str = "skeleton"  # of the targets: skeletons, or expressions with their numbers in digits
    prior: Prior = field(default_factory=Prior)


@dataclass
class Options:
    """Everything a training run is told; the defaults are the paper's (appendix B), batch 128."""

    model: ModelConfig = field(default_factory=ModelConfig)
    settings: Settings = field(default_factory=Settings)
    steps: int | None = None
    minutes: float | None = None
    clock: str = "wall"
    tokens: float | None = None  # predicted, of the whole run
    branches: tuple[float, ...] = ()  # tokens, rising, after each of which a decay of its own ends
    size: str = ""  # what the records of the run call the network
    schedule: str = "wsd"
    optimizer: str = "adamw"
    lr: float = 1e-4
    warmup: float = 0.1
    decay: float = 0.2
    weight_decay: float = 0.01
    beta2: float = 0.95
    clip: float = 2.0
    accumulate: int | None = (
        None  # batches of a step over all processes; None: as the run began, one a process when it begins
    )
    layout: str = "replicated"
    in_order: bool = False
    seed: int = 0
    log_every: int = 20
    eval_seconds: float = 120.0
    save_seconds: float = 300.0
    hold: float = 0.01
