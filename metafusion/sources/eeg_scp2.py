"""Self-regulation of slow cortical potentials by a paralysed patient (real EEG, packaged): a negative control.

As in :mod:`metafusion.sources.eeg_scp`, a cursor was moved up (cortical negativity) or down (positivity); here by an
artificially respirated patient with ALS. 200 training trials, and 180 official test trials that were recorded later on
the same day. A trial lasts 8 s, the goal stands from 0.5 s, and the files hold the feedback, 2.0 to 6.5 s, at 256 Hz.
Its publishers doubt that the trials say anything about the classes; the best entry of the competition erred in 45.5 %.

The files promise seven channels (A1-Cz, A2-Cz, four around C3 and C4, and the vertical eye channel) and hold one,
because they were cut wrongly (see :meth:`metafusion.sources.ts.Recording.only_true_channels`): the first dimension is
A1-Cz as recorded, and the others are the same electrode up to 42 samples (164 ms) later, exactly, in all 380 trials.

References
----------
BCI competition II, data set Ib, http://bbci.de/competition/ii/tuebingen_desc_ii.html; in the UEA archive as
SelfRegulationSCP2.
"""

from dataclasses import replace

from metafusion.sources import eeg_scp

RECORDING = replace(eeg_scp.RECORDING, data_set="SelfRegulationSCP2", name="scp2", shape=(7, 1152))
acquire, preprocess, assemble, look = RECORDING.acquire, RECORDING.preprocess, RECORDING.assemble, RECORDING.look
