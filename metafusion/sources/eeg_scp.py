"""Self-regulation of slow cortical potentials (real EEG, packaged): does the subject make them negative or positive?

One healthy subject moved a cursor up (cortical negativity) or down (positivity); 268 training trials, and 293 official
test trials. A trial lasts 6 s, the goal stands from 0.5 s, and the files hold the feedback, 2.0 to 5.5 s, at 256 Hz.

The files promise six electrodes (A1-Cz, A2-Cz, then four around C3 and C4) and hold one, because they were cut wrongly
(see :meth:`metafusion.sources.ts.Recording.only_true_channels`): the first dimension is A1-Cz as recorded, and the
others are the same electrode up to 117 ms later, running over into the first 30 samples of A2-Cz, exactly, in all 561
trials. Only A1-Cz is therefore used.

References
----------
Birbaumer et al. 1999, Nature 398:297-298; BCI competition II, data set Ia,
http://bbci.de/competition/ii/tuebingen_desc_i.html; in the UEA archive as SelfRegulationSCP1.
"""

from metafusion.sources.ts import Recording

RECORDING = Recording(
    data_set="SelfRegulationSCP1",
    name="scp1",
    classes=("negativity", "positivity"),
    shape=(6, 896),
    channels=("A1-Cz",),
    kind="eeg",
    unit=1e-6,
    rate=256.0,
    onset=2.0,
)
acquire, preprocess, assemble, look = RECORDING.acquire, RECORDING.preprocess, RECORDING.assemble, RECORDING.look
