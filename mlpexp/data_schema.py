"""The schema of `data`: one section for each kind of source.

Flow: section → **data_schema** → config. A source of its own keys gets a section of its own.
"""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from mlpexp.section import Neutral, Real, Section, Seed, Unhashed, Whole


def _part(value: object) -> float | int | None:
    """A share below 1, or a count: a whole number from 1 on, however it is spelt; None for what is neither."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value >= 1:
        return int(value) if float(value).is_integer() else None
    return abs(float(value)) if value >= 0 else None  # minus zero is zero


def _validation(value: object) -> object:
    if (part := _part(value)) is None:
        raise ValueError(f"must be a share from 0 to below 1, or a whole number of examples; got {value!r}")
    return part


def _test(value: object) -> object:
    if value == "official" or (part := _part(value)):
        return value if value == "official" else part
    raise ValueError(f"must be a share between 0 and 1, a whole number of examples, or official; got {value!r}")


class Split(Section):
    """Which examples train, validate and test; the same in all replicates."""

    seed: Seed = 0
    validation: Annotated[float | int, BeforeValidator(_validation)] = Field(
        0.2, description="share of the examples (of the training rows if test=official), or their number"
    )
    test: Annotated[float | int | Literal["official"], BeforeValidator(_test)] = Field(
        0.2, description="share of the examples, their number, or the rows set aside by the authors"
    )

    @model_validator(mode="after")
    def _some_remain(self) -> Self:
        shares = [part for part in (self.validation, self.test) if isinstance(part, float)]
        if sum(shares) >= 1:
            raise ValueError(
                f"data.split.validation={self.validation:g} and data.split.test={self.test:g} leave nothing to train "
                "on; their sum must be below 1"
            )
        return self


OFFICIAL = Split(validation=0.1, test="official")


class DataBase(Section):
    """Keys that every source has."""

    normalisation: Literal["standard", "minmax", "none"] = "standard"
    label_noise: Annotated[Real, Neutral(0.0)] = Field(
        0.0, ge=0, le=1, description="share of training and validation labels replaced by another class"
    )
    split: Split = Split()


class Packaged(DataBase):
    """Sets that come with scikit-learn; none has keys of its own."""

    name: Literal["digits", "breast_cancer", "wine", "iris", "diabetes"]


class Mnist1d(DataBase):
    """4000 + 1000 one-dimensional signals, made by the package mnist1d as its authors publish them."""

    name: Literal["mnist1d"]
    split: Split = OFFICIAL


class Idx(DataBase):
    """A folder of IDX files; Fashion-MNIST is one that is found by itself."""

    name: Literal["fashion_mnist", "idx"]
    path: Annotated[str | None, Unhashed()] = Field(None, description="folder of the four IDX files")
    pooling: Annotated[Whole, Neutral(1)] = Field(
        1, ge=1, description="side of the squares of pixels whose mean becomes one pixel; 1: as they are"
    )
    examples: Annotated[Whole | None, Neutral(None)] = Field(
        None, ge=2, description="training rows that are kept, always the same, class by class; null: all"
    )
    split: Split = OFFICIAL


class FashionSmall(Idx):
    """Fashion-MNIST for small networks and short studies: 14 × 14 pixels, 2000 + 1000 of the 60000 training rows."""

    name: Literal["fashion_small"]  # type: ignore[assignment]  # narrower names, the same keys
    pooling: Whole = Field(2, ge=1, description="as of fashion_mnist")
    examples: Whole | None = Field(3000, ge=2, description="as of fashion_mnist")
    split: Split = Split(validation=1000, test="official")


class Biology(DataBase):
    """Sets that come with R packages: splice junctions, leukaemia."""

    name: Literal["splice", "golub"]
    path: Annotated[str | None, Unhashed()] = Field(None, description="the package's data file; null: found by itself")


class Table(DataBase):
    """Your own CSV or Parquet file: one row an example, one column the target."""

    name: Literal["table"]
    path: Annotated[str, Unhashed()] = Field(min_length=1, description="a .csv or .parquet file")
    target: str = Field(min_length=1, description="name of the column that is predicted")
    task: Literal["auto", "classification", "regression"] = "auto"
    categorical: list[str] = Field(default_factory=list, description="columns of numbers that are codes")
    drop: list[str] = Field(default_factory=list, description="columns that are left out")
    group: str | None = Field(None, description="column whose equal values stay in one part (a patient, a site)")
    repeats: Literal["together", "apart"] = Field("together", description="whether equal rows stay in one part")
    imputation: Literal["none", "mean", "median", "most_frequent"] = Field(
        "none", description="what replaces missing values, fitted on the training part; none refuses them"
    )
    separator: Literal["comma", "semicolon", "tab", "pipe"] = Field(
        "comma", description="between columns of a CSV file"
    )
    decimal: Literal["point", "comma"] = Field("point", description="decimal sign of a CSV file")

    @model_validator(mode="after")
    def _roles_differ(self) -> Self:
        if self.target == self.group or self.target in self.drop or self.target in self.categorical:
            raise ValueError(f"data.target={self.target} cannot also be listed in data.drop, categorical or group")
        if self.separator == self.decimal:
            raise ValueError("data.separator and data.decimal are both comma; one must differ")
        return self


class Generated(DataBase):
    """Keys of all generators."""

    seed: Seed = Field(0, description="draws the examples; not the run's seed")
    examples: Whole = Field(1000, ge=4, le=100_000_000, description="rows in all parts together")


class Clusters(Generated):
    """Normal clouds of unit spread, one per class, round a circle; Bayes accuracy known."""

    name: Literal["clusters"]
    features: Whole = Field(2, ge=1, le=100_000)
    classes: Whole = Field(3, ge=2, le=1000)
    separation: Real = Field(3.0, ge=0, description="distance of a centre from the origin, in standard deviations")


class Moons(Generated):
    """Two interleaved half circles of radius 1."""

    name: Literal["moons"]
    noise: Real = Field(0.1, ge=0, description="standard deviation, in radii")


class Spirals(Generated):
    """Arms that wind from the origin to radius 1, one per class."""

    name: Literal["spirals"]
    classes: Whole = Field(2, ge=2, le=100)
    turns: Real = Field(1.0, gt=0, le=100, description="revolutions of an arm")
    noise: Real = Field(0.02, ge=0, description="standard deviation, in outer radii")


class Xor(Generated):
    """Clouds at (±1, ±1); the class is whether the signs differ. Bayes accuracy known."""

    name: Literal["xor"]
    noise: Real = Field(0.3, ge=0, description="standard deviation about each corner")


class Parity(DataBase):
    """Distinct rows of ±1; the class is the parity of the first `relevant` bits."""

    name: Literal["parity"]
    seed: Seed = Field(0, description="draws the rows; not the run's seed")
    bits: Whole = Field(10, ge=2, le=24)
    relevant: Whole | None = Field(None, ge=2, description="bits that count; null: all")
    examples: Whole | None = Field(None, ge=4, description="distinct rows; null: all 2^bits")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.relevant is not None and self.relevant > self.bits:
            raise ValueError(f"data.relevant={self.relevant} is more than data.bits={self.bits}")
        if self.examples is not None and self.examples > 2**self.bits:
            raise ValueError(
                f"data.examples={self.examples} is more than the {2**self.bits} rows of data.bits={self.bits}"
            )
        return self


class Sine(Generated):
    """y = sin(2π · frequency · x) + noise for x in [−1, 1]; the least squared error is noise²."""

    name: Literal["sine"]
    frequency: Real = Field(1.0, gt=0, le=10_000, description="periods per unit of x")
    noise: Real = Field(0.1, ge=0, description="standard deviation of y")
    outliers: Annotated[Real, Neutral(0.0)] = Field(
        0.0, ge=0, lt=1, description="share of all rows whose noise is that of outlier_size"
    )
    outlier_size: Annotated[Real, Neutral(5.0)] = Field(5.0, ge=0, description="standard deviation of an outlier's y")

    @model_validator(mode="after")
    def _has_outliers_to_size(self) -> Self:
        if self.outliers == 0 and self.outlier_size != 5.0:
            raise ValueError(f"data.outlier_size={self.outlier_size:g} has no effect with data.outliers=0; leave it")
        return self


class Teacher(Generated):
    """Normal inputs, targets from a random tanh network: regression, or classes by its largest output."""

    name: Literal["teacher"]
    features: Whole = Field(10, ge=1, le=100_000)
    depth: Whole = Field(2, ge=1, le=100, description="weight matrices of the teacher")
    width: Whole = Field(16, ge=1, le=65_536, description="hidden units of each of its layers")
    classes: Whole | None = Field(None, ge=2, le=1000, description="null: regression on one output")
    noise: Real = Field(0.0, ge=0, description="standard deviation, in those of the teacher's output")
    scale_ratio: Annotated[Real, Neutral(1.0)] = Field(
        1.0, gt=0, le=1e6, description="scale of the first feature over that of the last, the others between"
    )


class SpliceSites(Generated):
    """DNA windows about a donor site, an acceptor site, or neither, from position weight matrices."""

    name: Literal["splice_sites"]
    flank: Whole = Field(30, ge=6, le=10_000, description="bases on either side of the boundary")
    conservation: Real = Field(
        1.0, ge=0, le=1, description="weight of the matrices against even bases; 0 leaves nothing to learn"
    )


Data = Annotated[
    Packaged
    | Mnist1d
    | Idx
    | FashionSmall
    | Biology
    | Table
    | Clusters
    | Moons
    | Spirals
    | Xor
    | Parity
    | Sine
    | Teacher
    | SpliceSites,
    Field(discriminator="name"),
]
