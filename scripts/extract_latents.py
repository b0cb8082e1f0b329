"""Rule extract_latents: representations fitted on the training part, for every modality and seed of a block."""

from functools import partial

from metafusion import latents
from metafusion.files import read_table
from metafusion.samples import feature_matrix
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    splits = read_table(input.splits)
    features = partial(feature_matrix, input.features)
    for modality, choice in params.representations.items():
        mapped, fitted = latents.extract(splits, params.seeds, modality, features, choice["sizes"], choice["scaling"])
        latents.write(output.folder, modality, mapped, fitted)
        log.info("%s: representations %s for %d seeds", modality, choice["sizes"], len(params.seeds))
