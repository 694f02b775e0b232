"""The report of experiments: every table and figure on one page."""

from skvaball.experiments.report._page import write_report
from skvaball.experiments.report._results import ReportStore
from skvaball.experiments.report._summary import summary

__all__ = ["ReportStore", "summary", "write_report"]
