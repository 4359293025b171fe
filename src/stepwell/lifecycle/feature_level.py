"""The level of features that a process needs in order to run a workflow.

During a rolling deploy, processes of two versions share a database. The newer one may store workflows that the older
one would misread, because they use features that it doesn't know. Such a workflow has a higher level. A process leaves
the workflows above its own level to newer processes: it shows them, but doesn't run or change them.

A change after which earlier versions would misread a stored workflow raises `FEATURE_LEVEL` by one, and stores the
workflows that use the feature with this level, see `ValidatedWorkflow.feature_level`. All others keep the level that
they need. Only create stores a level so far. If a workflow can begin to use the feature later, that version's
checkpoint must store the level, too. Earlier versions read the level of each workflow before they load or claim it.
"""

from typing import Final

BASE_LEVEL: Final = 1  # of workflows that every version understands
FEATURE_LEVEL: Final = BASE_LEVEL  # the highest level that this version understands: no feature needs a higher one yet
