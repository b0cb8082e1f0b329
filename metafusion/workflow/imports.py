"""Every script imports this before all else: what it imports then is not searched for garbage again and again.

Libraries make hundreds of thousands of objects that live as long as the process. Python's collector walks over them
several times while they are imported and once more at the end: a quarter of the start of a job. It is off until
:func:`metafusion.workflow.job.job` begins.

Where a process has read the libraries already, the script goes on there, see :mod:`metafusion.workflow.forks`.
"""

import gc

from metafusion.workflow.forks import hand_over

gc.disable()
hand_over()
