"""The report as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skvaball.experiments.report._ablation_sections import batch_section
from skvaball.experiments.report._blocks import number_page
from skvaball.experiments.report._comparison import data_sets_section
from skvaball.experiments.report._overview import overview, provenance
from skvaball.experiments.report._protocol import protocol_section
from skvaball.experiments.report._results import ReportStore, load_results
from skvaball.experiments.report._summary import summarize_settings
from skvaball.utils.extras import needs_extra
from skvaball.utils.files import written_whole

if TYPE_CHECKING:
    from jinja2 import Template


def write_report(
    store: ReportStore,
    path: str | Path,
    *,
    reference: str = "random",
    metric: str = "balanced_accuracy",
    strategies: Sequence[str] | None = None,
    title: str = "Active learning on imbalanced data",
    command: str | None = None,
) -> Path:
    """Write every table and figure of an experiment to one HTML page.

    The page needs nothing but itself: figures, styles and images are inside. The same
    results make the same page, to the byte. What the store has no data for is left out.

    Parameters
    ----------
    store : ReportStore
        Where the results are, such as a :class:`~skvaball.experiments.ResultStore`.
    path : str or Path
        Where the page goes; its folder is made if it does not exist.
    reference : str, default="random"
        The strategy that the others are compared with, on the same seeds.
    metric : {"accuracy", "balanced_accuracy", "macro_f1", "geometric_mean"}, \
default="balanced_accuracy"
        The metric of tests, ranks and ablations; curves and areas are shown for all.
    strategies : sequence of str or None, default=None
        Those to report, in this order, which is that of their colours; None: all.
    title : str, default="Active learning on imbalanced data"
        Heading of the page.
    command : str or None, default=None
        The command that wrote the page, for the section on provenance.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If the store has no results, or a strategy or the metric is unknown.
    ImportError
        If a package of the extra "experiments" is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from skvaball.experiments import ResultStore, load_protocol, run_protocol
    >>> from skvaball.experiments.report import write_report
    >>> folder = tempfile.mkdtemp()
    >>> store = ResultStore(folder + "/results.db")
    >>> runs = run_protocol(load_protocol("digits"), ["random"], [0], store)
    >>> len(list(runs))
    1
    >>> write_report(store, folder + "/report.html").name
    'report.html'
    """
    template = _template()
    results = load_results(store, reference, metric, strategies)
    summaries = summarize_settings(results)
    sections = [
        overview(results, summaries),
        *(protocol_section(results, summaries, name) for name in results.protocol_names()),
        batch_section(results),
        data_sets_section(results),
        provenance(results, command),
    ]
    sections = [section for section in sections if section]
    number_page(sections)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = template.render(title=title, sections=sections)
    with written_whole(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _template() -> Template:
    with needs_extra("The report", "experiments"):
        # Imported here to say what is missing before anything is computed.
        import matplotlib  # noqa: F401 (used by the displays)
        import scikit_posthocs  # noqa: F401 (used by the statistics)
        import statsmodels  # noqa: F401 (used by the statistics)
        from jinja2 import Environment, PackageLoader, StrictUndefined
    environment = Environment(
        loader=PackageLoader("skvaball.experiments.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
