"""How much a report compares and shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportLimits:
    """The most that a report compares and shows of each kind.

    Attributes
    ----------
    sample : int
        Images that are compared.
    points : int
        Images on the page, but for those that its lists name: these are always there.
    page_bytes : int
        Size of the page: it shows fewer points where it would be larger.
    labels, sizes : int
        Rows of the tables of labels and of image sizes.
    worst_labels : int
        Rows of the table of labels by how well they separate.
    confused_labels, examples : int
        Pairs of labels, and images of each.
    cards : int
        Label issues, near-duplicates and outliers on the page. The CSV files list all.
    components, end_images : int
        Components whose two ends are shown, and images at each end.
    """

    sample: int = 5_000
    points: int = 2_000
    page_bytes: int = 5_000_000
    labels: int = 1_000
    sizes: int = 20
    worst_labels: int = 50
    confused_labels: int = 20
    examples: int = 4
    cards: int = 50
    components: int = 6
    end_images: int = 6
