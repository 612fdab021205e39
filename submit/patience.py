"""How long the submitter waits: between questions to AWS, for late logs and bills, and for lost connections."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Times in seconds while a run is started and followed.

    Attributes
    ----------
    poll : float
        Between two questions about a run.
    lost : float
        How long to ask again while AWS cannot be reached; the run goes on either way.
    next_attempt : float
        How long a failed attempt may show as failed before the service begins the next one.
    late_serverless, late_cluster : float
        How long after the end of a run the last of its log and its bill may come. A cluster copies its logs to S3
        every five minutes, and when it ends.
    notice : float
        How soon a wait notices Ctrl-C.
    """

    poll: float = 5.0
    lost: float = 15 * 60.0
    next_attempt: float = 20.0
    late_serverless: float = 60.0
    late_cluster: float = 6 * 60.0
    notice: float = 0.1


PATIENCE = Patience()
