"""Rule describe_data: who is in and why, who the people are, and what could leak."""

import metafusion.workflow.imports  # noqa: F401

from importlib import import_module
from pathlib import Path

from metafusion.account.columns import columns_table, quality_of
from metafusion.account.data import Data, joined
from metafusion.account.figures import flow_figure
from metafusion.account.flow import flow_table
from metafusion.account.leakage import leakage_tables, say
from metafusion.account.participants import participants_table
from metafusion.account.tripod import Setting, tripod_table
from metafusion.config.checks import Checks
from metafusion.files import read_table, write_table
from metafusion.samples import first_permutation
from metafusion.svg import save
from metafusion.workflow.chunks import by_modality
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    splits = joined(map(read_table, input.splits))
    classes, unit = params.task == "classification", params.split["unit"]
    samples, people, exclusions = first_permutation(*map(read_table, (input.samples, input.people, input.exclusions)))
    data = Data(samples, people, splits, Path(input.features), params.modalities, classes, unit)
    preprocessed, having, checks = by_modality(input.preprocessed), data.having(), Checks(**params.checks)
    flow = flow_table(samples, exclusions, having)
    columns = columns_table(data, preprocessed)
    # By name, so that experiments without volumes do not wait for what reads them.
    quality = quality_of(preprocessed, lambda some: import_module("metafusion.preprocess.mri").quality_table(some))
    leakage, doubles = leakage_tables(data, quality, checks, params.proxies, params.leaking, params.split["scheme"])
    setting = Setting(snakemake.wildcards.experiment, params.title, params.kind, params.simulated, params.split)
    write_table(flow, output.flow)
    write_table(participants_table(samples, people, having, classes, unit), output.participants)
    write_table(leakage, output.leakage)
    write_table(doubles, output.doubles)
    write_table(columns, output.columns)
    write_table(quality, output.quality)
    write_table(tripod_table(data, flow, columns, leakage, setting), output.tripod_ai)
    save(flow_figure(flow, data.class_counts, setting.heading), output.figure)
    say(leakage, log)
