"""Direction of a movement of the wrist (real MEG, packaged): right, forward, left or backward?

Healthy, right-handed subjects moved a joystick with the right hand and wrist to one of four targets, chosen by
themselves, after a signal to go. 160 training trials (40 a class), and 74 official test trials. A trial runs from 0.4 s
before to 0.6 s after the onset of the movement, at 400 Hz, filtered from 0.5 to 100 Hz by its publishers.

The ten dimensions are ten channels above the motor areas: none is a copy of another (see
:meth:`metafusion.sources.ts.Recording.only_true_channels`), and they correlate best without a lag. The files name
neither the channels, which are numbered here in the order of the file, nor the unit, which is taken for femtotesla.

The header says that the trials of two subjects are merged, and nothing says which trial is whose. Nothing in the
numbers shows two groups, either (``docs/data/meg_hand.md``). So all trials have the same subject here.

References
----------
Waldert et al. 2008, J. Neurosci. 28:1000-1008; Tangermann et al. 2012, Front. Neurosci. 6:55 (BCI competition IV, data
set 3); in the UEA archive as HandMovementDirection.
"""

from metafusion.sources.ts import Recording

RECORDING = Recording(
    data_set="HandMovementDirection",
    name="meg",
    classes=("right", "forward", "left", "backward"),
    shape=(10, 400),
    channels=tuple(f"MEG{number:02d}" for number in range(1, 11)),
    kind="mag",
    unit=1e-15,
    rate=400.0,
    onset=-0.4,
)
acquire, preprocess, assemble, look = RECORDING.acquire, RECORDING.preprocess, RECORDING.assemble, RECORDING.look
