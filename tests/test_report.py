"""The report: a page whose every number can be computed by hand, and which a browser can show."""

import html.parser
import io
import itertools
import re
import warnings
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from skvaball.experiments.report import summary, write_report
from skvaball.experiments.report._ablation_sections import _sweep_table
from skvaball.experiments.report._ablations import Sweep, all_settings, find_sweeps
from skvaball.experiments.statistics import (
    area_under_curve,
    curve_areas,
    friedman_ranks,
    paired_differences,
    round_tests,
)
from skvaball.plots import ParameterCurveDisplay

CHROMIUM = Path("/usr/bin/chromium")
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"

METRICS = ["accuracy", "balanced_accuracy", "macro_f1", "geometric_mean"]
CLASSES = ["plane", "car", "bird", "cat"]
POOL_SHARES = [0.7, 0.1, 0.1, 0.1]
VERSIONS = {"python": "3.11.7", "torch": "2.5.0"}
HARDWARE = {"processor": "abacus", "cores": 2}
#: Name, settings and worth (gain in accuracy over random at the end) of each strategy.
STRATEGIES = {
    "random": ({"selector": "random"}, 0.0),
    "entropy": ({"selector": "entropy"}, 0.06),
    "vab": ({"selector": "vab"}, 0.04),
    "oracle": ({"selector": "oracle"}, 0.12),
}
ABLATIONS = {
    "vab-paper": ({"selector": "vab-paper"}, 0.0),
    "vab-lam-0.05": ({"selector": "vab-paper", "lam": 0.05}, 0.02),
    "vab-lam-0.5": ({"selector": "vab-paper", "lam": 0.5}, 0.03),
    "vab-abs": ({"selector": "vab-paper", "activity": "abs"}, 0.01),
    **{
        f"vab-joint-{d:d}{p:d}": (
            {"selector": "vab", "posterior": "joint", "use_difficulty": d, "use_prior": p},
            0.01 * d + 0.02 * p,
        )
        for d, p in itertools.product([True, False], repeat=2)
    },
}


class Store:
    """Results in memory, with the methods of a result store."""

    def __init__(self, rounds, protocols, gallery=()):
        self._rounds = pd.DataFrame(rounds)
        self._protocols = protocols
        self._gallery = pd.DataFrame(gallery)

    def rounds(self):
        return self._rounds.drop(columns=["config"], errors="ignore")

    def runs(self):
        keys = ["protocol", "balance", "strategy", "seed"]
        if len(self._rounds) == 0:
            return pd.DataFrame(columns=[*keys, "n_rounds_done", "finished", "config"])
        runs = self._rounds.groupby(keys, sort=False)["round"].size().rename("n_rounds_done")
        runs = runs.reset_index()
        config = self._rounds.groupby(keys, sort=False)["config"].first()
        runs["config"] = config.to_numpy()
        most = runs.groupby("protocol")["n_rounds_done"].transform("max")
        runs["finished"] = (runs["n_rounds_done"] == most) | (runs["strategy"] == "full")
        runs["commit"], runs["started"] = "0123abcd", "2025-01-01T00:00:00+00:00"
        runs["versions"] = [VERSIONS] * len(runs)
        runs["hardware"] = [HARDWARE] * len(runs)
        return runs

    def protocols(self):
        return self._protocols

    def gallery(self):
        return self._gallery


def protocol(title="Photos", data="photos", batch=100, **changes):
    return {
        "title": title,
        "data": {"set": data},
        "variant": {"name": "+[1]", "keep": 0.1},
        "network": {"kind": "mlp", "params": {}},
        "training": {"max_epochs": 10},
        "rounds": {"start": 100, "batch": batch, "n": 300 // batch},
        "metrics": {},
        "class_names": CLASSES,
        "rare": [1, 2, 3],
        "pool_shares": POOL_SHARES,
        **changes,
    }


def make_rounds(
    name="photos",
    balance="none",
    strategies=STRATEGIES,
    n_seeds=5,
    batch=100,
    full=True,
    noise=0.01,
    nothing_learned=(),
):
    """Rounds of one setting: 100 to 400 labels, the same seeds and start for all strategies."""
    rng = np.random.default_rng([ord(letter) for letter in name + balance])
    base = 0.5 + (balance != "none") * 0.05
    rounds = []
    for strategy, (config, worth) in strategies.items():
        for seed in range(n_seeds):
            for i, n in enumerate(range(100, 401, batch)):
                progress = (n - 100) / 300
                value = base + 0.02 * seed + (0.2 + worth) * np.sqrt(progress)
                value += noise * rng.normal() * (i > 0)
                counts = np.array([0.7 - 0.4 * (strategy != "random") * progress, 0, 0, 0]) * n
                counts[1:] = (n - counts[0]) / 3
                is_vab = strategy.startswith("vab") and i > 0
                rounds.append(
                    {
                        "protocol": name,
                        "balance": balance,
                        "strategy": strategy,
                        "seed": seed,
                        "round": i,
                        "n_labeled": n,
                        **{metric: value - 0.05 * j for j, metric in enumerate(METRICS)},
                        "recalls": [0.95, *np.clip([value, value - 0.1, value - 0.2], 0, 1)],
                        "class_counts": counts.round().astype(int).tolist(),
                        "queried": np.arange(batch),
                        "rare_share": 1 - counts[0] / n,
                        "query_time": 0.0 if i == 0 else 0.01 * (1 + 99 * is_vab) * (1 + 0.1 * i),
                        "train_time": 2.0 + seed,
                        "peak_memory": 500.0 + i,
                        "vae_agreement": 0.9 if is_vab else np.nan,
                        "likelihood_agreement": 0.4 if is_vab else np.nan,
                        "nothing_learned": (strategy, seed, i) in nothing_learned,
                        "config": config,
                    }
                )
    if full:
        for seed in range(n_seeds):
            rounds.append(
                {
                    **rounds[-1],
                    "strategy": "full",
                    "seed": seed,
                    "round": 0,
                    "n_labeled": 5000,
                    **{metric: 0.9 - 0.05 * j for j, metric in enumerate(METRICS)},
                    "query_time": 0.0,
                    "vae_agreement": np.nan,
                    "likelihood_agreement": np.nan,
                    "nothing_learned": False,
                    "config": {"selector": "full"},
                }
            )
    return rounds


def make_gallery(name="photos", balance="none", strategy="vab", n=10):
    rng = np.random.default_rng(0)
    rows = []
    for rank in range(n):
        png = io.BytesIO()
        matplotlib.image.imsave(png, rng.random((8, 8, 3)), format="png")
        rows.append(
            {
                "protocol": name,
                "balance": balance,
                "strategy": strategy,
                "seed": 0,
                "round": 3,
                "rank": rank,
                "png": png.getvalue(),
                "true_label": CLASSES[rank % 4],
                "predicted_label": CLASSES[rank % 3],
                "likelihood": -123.456 - rank,
                "difficulty": 0.875,
                "prior": 0.0625,
                "score": 0.5 - 0.01 * rank,
            }
        )
    return rows


def whole_store():
    """A store with something for every section."""
    rounds, protocols = [], {}
    for name in ("photos", "digits", "steel"):
        # A title is shown as it is, whatever it looks like.
        title = "Steel, <i>9</i> & 1" if name == "steel" else name.capitalize()
        protocols[name] = protocol(title, name)
        rounds += make_rounds(
            name,
            "none",
            {**STRATEGIES, **(ABLATIONS if name == "photos" else {})},
            n_seeds=3 if name == "steel" else 5,
            nothing_learned=[("vab", 1, 2), ("vab", 1, 3)] if name == "photos" else [],
        )
    both = {name: ABLATIONS[name] for name in ("vab-paper", "vab-lam-0.05")}
    rounds += make_rounds("photos", "logit_adjustment", {**STRATEGIES, **both})
    protocols["photos-50"] = protocol("Photos, 50 per round", "photos", 50)
    rounds += make_rounds("photos-50", "none", batch=50)
    return Store(rounds, protocols, make_gallery())


def small_store(**changes):
    """One setting with three strategies, whose curves are known: there is no noise."""
    strategies = {
        "random": STRATEGIES["random"],
        "vab": STRATEGIES["vab"],
        "worse": ({"selector": "base"}, -0.1),
    }
    rounds = make_rounds(**{"strategies": strategies, "noise": 0, **changes})
    return Store(rounds, {"photos": protocol()})


class Page(html.parser.HTMLParser):
    """What a reader sees: headings, captions, warnings, and tables as lists of rows."""

    def __init__(self, path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.headings, self.captions, self.warnings = [], [], []
        self.tables, self.images = [], []
        self._parts = None
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "img":
            self.images.append(attributes)
        warning = tag == "p" and attributes.get("class") == "warning"
        if warning or tag in ("h2", "h3", "figcaption", "th", "td"):
            self._parts = []

    def handle_data(self, data):
        if self._parts is not None:
            self._parts.append(data)

    def handle_endtag(self, tag):
        if self._parts is None or tag not in ("h2", "h3", "figcaption", "p", "th", "td"):
            return
        text = "".join(self._parts)
        self._parts = None
        if tag in ("th", "td"):
            self.tables[-1][-1].append(text)
        else:
            {"p": self.warnings, "figcaption": self.captions}.get(tag, self.headings).append(text)

    def table(self, words, place=0):
        """The first table whose caption has these words, or a later one."""
        captions = [caption for caption in self.captions if caption.startswith("Table")]
        return self.tables[[k for k, c in enumerate(captions) if words in c][place]]

    def row(self, words, name, place=0):
        """The cells after the name of a row."""
        (row,) = [row for row in self.table(words, place) if row[0] == name]
        return row[1:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    store = whole_store()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        assert write_report(store, path, command="skvaball report results.db") == path
    return store, path, Page(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "report.html"
    return Page(write_report(small_store(), path))


@pytest.fixture(scope="module")
def numbers(whole):
    return summary(whole[0])


def report(store, tmp_path, **options):
    return Page(write_report(store, tmp_path / "report.html", **options))


# -- what is on the page -----------------------------------------------------------------


#: Sections of every protocol with some strategies.
SECTIONS = [
    "Learning curves",
    "Areas, final values and costs",
    "Differences to random",
    "Who beats whom",
    "Rare classes among the labels",
    "Accuracy of each class against its labels",
    "Query time",
    "Did the autoencoders learn?",
]
ABLATION_SECTIONS = [
    "With and without prior and difficulty",
    "Effect of activity",
    "Effect of lam",
    "Effect of posterior",
    "First images of a query",
]


def test_every_section_that_has_data_is_there(whole):
    _, _, page = whole
    photos = page.headings.index("First images of a query") + 1
    assert page.headings[:2] == ["Overview", "Photos"]
    assert page.headings[2 : photos - 5] == SECTIONS
    assert sorted(page.headings[photos - 5 : photos]) == sorted(ABLATION_SECTIONS)
    others = ["Digits", "Steel, <i>9</i> & 1", "Photos, 50 per round"]
    expected = [heading for title in others for heading in (title, *SECTIONS)]
    assert page.headings[photos:-3] == expected
    assert page.headings[-3:] == ["Labels per round", "Several data sets", "Provenance"]
    assert "<i>" not in page.text


def test_figures_and_tables_are_numbered_in_order(whole):
    _, _, page = whole
    for kind in ("Figure", "Table"):
        numbers = [int(n) for n in re.findall(rf"^{kind} (\d+)\.", "\n".join(page.captions), re.M)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 10
    assert len(page.tables) == sum(caption.startswith("Table") for caption in page.captions)


def test_the_table_of_contents_leads_to_every_heading(whole):
    _, _, page = whole
    links = re.findall(r'href="#([^"]+)"', page.text)
    anchors = re.findall(r'<h[23] id="([^"]+)"', page.text)
    assert links == anchors
    assert len(set(anchors)) == len(anchors)


def test_the_page_needs_nothing_but_itself(whole):
    _, _, page = whole
    sources = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(sources) > 100
    assert {source.split(",")[0] for source in sources if not source.startswith("#")} == {
        "data:",
        "data:image/png;base64",
        "data:image/svg+xml;base64",
    }
    assert "url(" not in page.text
    assert "<script" not in page.text
    assert "@import" not in page.text


def test_every_image_says_what_it_shows(whole):
    _, _, page = whole
    # Those of the legends stand beside the name and say no more than that.
    silent = [image for image in page.images if not image["alt"]]
    assert {(image["width"], image["height"]) for image in silent} == {("40", "16")}
    assert any("Pairwise penalty matrix: No balancing" in i["alt"] for i in page.images)


def test_the_same_results_make_the_same_page(small, tmp_path):
    assert report(small_store(), tmp_path).text == small.text


def test_sections_without_data_are_left_out(tmp_path):
    rounds = make_rounds(strategies={"random": STRATEGIES["random"]}, n_seeds=1, full=False)
    for entry in rounds:
        entry["rare_share"] = np.nan
        entry["recalls"] = [np.nan] * 4
        entry["query_time"] = np.nan
    # A setting that lacks the reference has no differences to it.
    rounds += make_rounds("digits", strategies={"vab": STRATEGIES["vab"]}, n_seeds=2, full=False)
    page = report(Store(rounds, {}), tmp_path)
    left_out = ("Differences to random", "Who beats whom")
    assert page.headings == [
        "Overview",
        "photos",
        *SECTIONS[:2],
        "digits",
        *(heading for heading in SECTIONS if heading not in left_out),
        "Provenance",
    ]
    assert [text.split(".")[0].split(":")[0] for text in page.warnings] == [
        "Fewer than 5 complete seeds",
        "Only 1 seed",
        "Only 2 seeds",
    ]
    curves = [c for c in page.captions if "against the number of labels" in c]
    assert all("One seed, so no bands." in caption for caption in curves[:4])
    assert all("Bands:" in caption for caption in curves[4:])


# -- what the numbers are ----------------------------------------------------------------


def mean_and_sd(values):
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"


def per_seed(store, strategy, metric, balance="none"):
    """Areas and final values, computed here."""
    rounds = store.rounds().query(
        "protocol == 'photos' and balance == @balance and strategy == @strategy"
    )
    curves = [curve.sort_values("round") for _, curve in rounds.groupby("seed")]
    areas = [area_under_curve(c["n_labeled"].to_numpy(), c[metric].to_numpy()) for c in curves]
    return np.array(areas), np.array([curve[metric].iloc[-1] for curve in curves])


def test_areas_and_final_values_are_means_with_spread_side_by_side(whole):
    store, _, page = whole
    for k, words in enumerate(["Area under the learning curve in %", "Value at the end"]):
        assert page.table(words)[0] == [
            "Strategy",
            "Accuracy",
            "Balanced accuracy",
            "Macro-F1",
            "Geometric mean of recalls",
        ]
        assert page.table(words)[1] == ["No balancing", "Logit adjustment"] * 4
        for strategy in STRATEGIES:
            expected = [
                mean_and_sd(per_seed(store, strategy, metric, balance)[k])
                for metric in METRICS
                for balance in ("none", "logit_adjustment")
            ]
            # The first table is that of photos, where vab is marked.
            name = "vab †" if strategy == "vab" else strategy
            assert page.row(words, name) == expected
    assert page.row("Value at the end", "full pool")[:2] == ["90.0 ± 0.0"] * 2
    assert "full pool" not in [row[0] for row in page.table("Area under the learning")]


def test_overview_has_mean_and_final_value_of_each_setting(whole):
    store, _, page = whole
    areas, finals = per_seed(store, "vab", "balanced_accuracy")
    cells = page.row("Balanced accuracy in % of each strategy", "vab")
    assert cells[:2] == [f"{100 * areas.mean():.1f}", f"{100 * finals.mean():.1f}"]
    assert page.table("Balanced accuracy in % of each")[0][1:3] == [
        "Photos, no balancing",
        "Photos, logit adjustment",
    ]
    only_photos = page.row("Balanced accuracy in % of each strategy", "vab-abs")
    assert only_photos[4:] == [DASH] * 6


def test_costs_are_labels_seconds_and_memory(small):
    page = small
    # Balanced accuracy is start + 0.02 seed + (0.2 + worth) sqrt(progress).
    gain = 0.24 * np.sqrt([0, 1 / 3, 2 / 3, 1])
    expected = np.interp(0.2, gain, [100, 200, 300, 400])
    vab = page.row("Costs.", "vab")
    assert vab[:2] == [f"{expected:.0f}"] * 2
    assert vab[2] == "1.2 ± 0.0"  # 1.1, 1.2 and 1.3 seconds; the start has no query
    assert vab[3] == "4.0 ± 1.6"  # 2 to 6 seconds
    assert vab[4] == "503"
    assert page.row("Costs.", "random")[:2] == ["400", "400"]
    assert page.row("Costs.", "worse")[:2] == ["not reached"] * 2
    assert page.row("Costs.", "full pool")[:2] == [DASH] * 2


def test_differences_and_tests_are_those_of_the_statistics(whole):
    store, _, page = whole
    rounds = store.rounds().query("protocol == 'digits'")
    expected = paired_differences(rounds).loc["entropy"]
    row = page.row("The same in numbers", "entropy", 1)  # photos is the first
    assert row[0] == f"{100 * expected['mean']:+.1f}"
    assert row[1] == f"{100 * expected['low']:+.1f} to {100 * expected['high']:+.1f}"
    assert row[2] == "5"
    assert row[4] == ("< 0.001" if expected["p_holm"] < 0.001 else f"{expected['p_holm']:.3f}")


def test_rounds_that_differ_significantly_have_an_asterisk(whole):
    store, _, page = whole
    tests = round_tests(store.rounds().query("protocol == 'steel'"))
    stars = 0
    for strategy in ("entropy", "vab", "oracle"):
        cells = page.row("at each number of labels", strategy, 2)  # after photos and digits
        assert cells[0] == "0.0"  # the common start
        for cell, (_, row) in zip(
            cells, tests[tests["strategy"] == strategy].iterrows(), strict=True
        ):
            assert cell.endswith("*") == (row["p_holm"] < 0.05)
            stars += cell.endswith("*")
    assert 0 < stars < 9


def test_autoencoders_that_learned_nothing_are_marked_and_counted(whole, numbers):
    _, _, page = whole
    tables = [t for t in page.tables if len(t) > 1 and "runs marked" in t[1]]
    (row,) = [row for row in tables[0] if row[0].startswith("vab †")]
    nothing = f"90.0 (90.0{DASH}90.0)", f"40.0 (40.0{DASH}40.0)"
    assert row[1:] == ["1 of 5", "2 of 15", *nothing, "0 of 5", "0 of 15", *nothing]
    assert any("In 1 run the autoencoder" in text for text in page.warnings)
    assert "vab † learned nothing in some round" in page.text
    assert sum("†" in row[0] for row in tables[0]) == 1
    assert not any("†" in row[0] for row in tables[1])
    assert numbers["photos", "none"].loc["vab", "nothing_learned"] == 1


def test_fewer_than_five_seeds_are_a_warning(whole, small):
    _, _, page = whole
    assert page.warnings[0].startswith(
        "Fewer than 5 complete seeds: Steel, <i>9</i> & 1, no balancing (3 seeds)."
    )
    assert sum(text.startswith("Only 3 seeds") for text in page.warnings) == 1
    assert small.warnings == []


def test_unfinished_runs_and_other_commits_are_told_and_areas_are_of_whole_runs(tmp_path):
    rounds = [
        entry
        for entry in small_store()._rounds.to_dict("records")
        if not (entry["strategy"] == "vab" and entry["seed"] == 4 and entry["round"] == 3)
    ]
    store = Store(rounds, {"photos": protocol()})
    runs = store.runs()
    runs.loc[0, "commit"] = "fedcba98"
    store.runs = lambda: runs
    page = report(store, tmp_path)
    assert page.warnings[0].startswith("Fewer than 5 complete seeds: Photos, no balancing (4 ")
    assert page.warnings[1] == (
        "1 of 20 runs not finished. Their rounds are in the curves, but areas, final values and "
        "tests of areas leave them out."
    )
    assert page.warnings[-1].startswith("The runs come from 2 environments.")
    areas, _ = per_seed(store, "vab", "accuracy")
    assert page.row("Area under the learning", "vab")[0] == mean_and_sd(areas[:4])
    assert summary(store)["photos", "none"].loc["vab", "n_pairs"] == 4


def test_where_no_run_is_finished_there_are_no_areas(tmp_path):
    """All of them at the same round: the longest so far is not the whole budget."""
    rounds = small_store()._rounds
    store = Store(rounds[rounds["round"] < 3].to_dict("records"), {"photos": protocol()})
    store.runs = lambda: small_store().runs().assign(finished=False)
    page = report(store, tmp_path)
    assert page.warnings[0].startswith("Fewer than 5 complete seeds: Photos, no balancing (0 ")
    assert page.warnings[1].startswith("20 of 20 runs not finished")
    table = summary(store)["photos", "none"]
    assert (table["n_seeds"] == 0).all()
    assert table[["accuracy_area", "accuracy_labels", "difference"]].isna().all(axis=None)
    assert (table["query_time"] > 0).any()


def test_settings_that_are_no_words_or_numbers_can_be_compared(tmp_path):
    strategies = {
        "random": STRATEGIES["random"],
        "vab": STRATEGIES["vab"],
        "unweighted": ({"selector": "vab", "class_weight": {}}, 0.02),
    }
    page = report(small_store(strategies=strategies), tmp_path)
    assert "Effect of class_weight" in page.headings


def test_a_setting_of_none_is_compared_with_numbers(tmp_path):
    strategies = {
        "random": STRATEGIES["random"],
        "all": ({"selector": "vab-paper"}, 0.05),  # confidence=None
        "some": ({"selector": "vab-paper", "confidence": 0.9}, 0.02),
    }
    rounds = small_store(strategies=strategies).rounds()
    areas = curve_areas(rounds, "accuracy")
    sweep = Sweep("confidence", {"all": None, "some": 0.9})
    table = _sweep_table(areas, "confidence", [sweep])
    assert set(table["confidence"]) == {None, 0.9}
    shown = ParameterCurveDisplay.from_results(table, "confidence", "value")
    assert [t.get_text() for t in shown.ax_.get_xticklabels()] == ["0.9", "None"]
    np.testing.assert_allclose(shown.lines_[0].get_ydata(), areas[["some", "all"]].mean())


def test_anchors_of_titles_that_differ_in_signs_are_different(tmp_path):
    protocols = {"a": protocol("Photos +[1]"), "b": protocol("Photos -[1]")}
    protocols["b"]["variant"] = {"name": "-[1]"}
    rounds = [r for name in protocols for r in make_rounds(name, n_seeds=2)]
    page = report(Store(rounds, protocols), tmp_path)
    anchors = re.findall(r'<h[23] id="([^"]*)"', page.text)
    assert len(anchors) == len(set(anchors))
    assert {"photos-1", "photos-1-2"} <= set(anchors)


def test_protocols_that_share_a_title_are_told_apart(tmp_path):
    rounds = [
        entry
        for name in ("photos", "photos-2", "photos-3")
        for entry in make_rounds(name, strategies=dict(list(STRATEGIES.items())[:3]))
    ]
    variants = {"photos": "+[1]", "photos-2": "+[2]", "photos-3": "+[3]"}
    protocols = {name: protocol(variant={"name": v}) for name, v in variants.items()}
    page = report(Store(rounds, protocols), tmp_path)
    assert {"Photos (photos)", "Photos (photos-2)", "Photos (photos-3)"} <= set(page.headings)
    (caption,) = [c for c in page.captions if "Friedman" in c]
    assert (
        "3 data sets (Photos (photos): 5 seeds; Photos (photos-2): 5 seeds; "
        "Photos (photos-3): 5 seeds)" in caption
    )


def test_ranks_are_over_data_sets_not_over_protocols(whole):
    store, _, page = whole
    rounds = store.rounds().query("balance == 'none' and strategy in ['random', 'entropy', 'vab']")
    areas = {}
    for name in ("photos", "digits", "steel"):  # photos-50 has the data of photos
        of = rounds[rounds["protocol"] == name]
        areas[name] = {
            strategy: np.mean(
                [
                    area_under_curve(c["n_labeled"].to_numpy(), c["balanced_accuracy"].to_numpy())
                    for _, c in curves.groupby("seed")
                ]
            )
            for strategy, curves in of.groupby("strategy", sort=False)
        }
    expected = friedman_ranks(pd.DataFrame(areas).T)
    (caption,) = [c for c in page.captions if "Friedman" in c]
    assert "3 data sets (Photos: 5 seeds; Digits: 5 seeds; Steel, <i>9</i> & 1: 3 seeds)" in caption
    assert f"chi-squared {expected.statistic:.2f} with 2 degrees of freedom" in caption
    assert "every data set: vab-paper" in caption
    assert page.row("Friedman", "entropy")[0] == f"{expected.ranks['entropy']:.2f}"
    names = [row[0] for row in page.table("Friedman")[1:]]
    assert set(names) == {"random", "entropy", "vab"}
    cell = page.row("Friedman", "random")[1 + names.index("entropy")]
    assert cell == f"{expected.p_values.loc['random', 'entropy']:.3f}"


def test_ranks_are_over_the_seeds_that_all_strategies_have(tmp_path):
    """Seeds are good or bad for all: who has only the good ones must not win by that."""
    names = ["photos", "digits", "steel", "cars", "birds"]
    kept = dict(list(STRATEGIES.items())[:3])
    rounds = [entry for name in names for entry in make_rounds(name, strategies=kept)]
    copied = [
        {**entry, "strategy": "copy"}
        for entry in rounds
        if entry["strategy"] == "random" and entry["seed"] >= 2
    ]
    protocols = {name: protocol(title=name.title(), data=name) for name in names}
    page = report(Store([*rounds, *copied], protocols), tmp_path)
    assert page.row("Friedman", "copy")[0] == page.row("Friedman", "random")[0]
    (caption,) = [c for c in page.captions if "Friedman" in c]
    assert "Birds: 3 seeds" in caption
    assert any("over the seeds that all of them have complete" in c for c in page.captions)


def test_areas_count_the_seeds_whose_runs_are_complete(tmp_path):
    rounds = [
        entry
        for entry in make_rounds(strategies=dict(list(STRATEGIES.items())[:3]), n_seeds=6)
        if entry["seed"] < 2 or entry["n_labeled"] < 400
    ]
    page = report(Store(rounds, {"photos": protocol()}), tmp_path)
    (areas,) = [c for c in page.captions if "Area under the learning curve" in c]
    assert "complete; 2 seeds" in areas
    assert any("6 seeds" in c for c in page.captions)  # curves have all rounds
    assert any("Fewer than 5 complete seeds: Photos" in text for text in page.warnings)


@pytest.mark.parametrize("values", [(1.0, 1), (0.5, np.inf)])
def test_any_values_of_a_parameter_make_a_page(values, tmp_path):
    strategies = {"random": STRATEGIES["random"]} | {
        f"vab-{i}": ({"selector": "vab", "beta": value}, 0.01)
        for i, value in enumerate([0.1, *values])
    }
    page = report(Store(make_rounds(strategies=strategies), {"photos": protocol()}), tmp_path)
    assert any("against beta" in caption for caption in page.captions)


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    write = Path.write_text

    def full_disk(path, text, **options):
        write(path, text[: len(text) // 2], **options)
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_report(small_store(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_is_written_through_a_link(tmp_path):
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text("old")
    page.chmod(0o600)
    link.symlink_to(page)
    write_report(small_store(), link)
    assert link.is_symlink()
    assert page.read_text() != "old"
    assert page.stat().st_mode & 0o777 == 0o600


def test_strategies_with_few_seeds_are_not_ranked(tmp_path):
    """One that was begun would leave the others a single seed."""
    names = ["photos", "digits", "steel"]
    kept = dict(list(STRATEGIES.items())[:3])
    rounds = [entry for name in names for entry in make_rounds(name, strategies=kept)]
    begun = [
        {**entry, "strategy": "begun"}
        for entry in rounds
        if entry["strategy"] == "random" and entry["seed"] == 0
    ]
    protocols = {name: protocol(title=name.title(), data=name) for name in names}
    page = report(Store([*rounds, *begun], protocols), tmp_path)
    (caption,) = [c for c in page.captions if "Friedman" in c]
    assert "Photos: 5 seeds; Digits: 5 seeds; Steel: 5 seeds" in caption
    assert "Not ranked, as they have not half of the seeds of every data set: begun." in caption


def test_data_sets_without_a_common_seed_are_named(tmp_path):
    names = ["photos", "digits", "steel", "cars"]
    kept = dict(list(STRATEGIES.items())[:3])
    rounds = [
        {**entry, "seed": entry["seed"] + 10 * (name == "cars" and entry["strategy"] == "vab")}
        for name in names
        for entry in make_rounds(name, strategies=kept)
    ]
    protocols = {name: protocol(title=name.title(), data=name) for name in names}
    page = report(Store(rounds, protocols), tmp_path)
    (caption,) = [c for c in page.captions if "Friedman" in c]
    assert "3 data sets" in caption
    assert "Left out, as no seed is complete for all: Cars." in caption


def test_the_terms_of_the_joint_form_make_the_papers_first_table(whole):
    store, _, page = whole
    table = page.table("The joint form of the score")
    assert [row[:3] for row in table[2:]] == [
        ["no", "no", "vab-joint-00"],
        ["no", "yes", "vab-joint-01"],
        ["yes", "no", "vab-joint-10"],
        ["yes", "yes", "vab-joint-11"],
    ]
    areas, finals = per_seed(store, "vab-joint-01", "balanced_accuracy")
    assert table[3][3:5] == [mean_and_sd(areas), mean_and_sd(finals)]


def test_the_gallery_has_the_terms_under_each_image(whole):
    _, _, page = whole
    parts = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page.text)
    terms = [(name, number) for name, number in parts if name == "score" or "(" in name]
    assert terms[:4] == [
        ("log p(x|ŷ)", f"{MINUS}123"),
        ("p(y|ŷ)", "0.875"),
        ("p(ŷ)", "0.0625"),
        ("score", "0.500"),
    ]
    assert len(terms) == 40
    assert page.text.count('<div class="label mistaken">') == 7  # of ranks 3 to 9
    (caption,) = [c for c in page.captions if "first 10 images" in c]
    assert "vab: first 10 images of the query of round 3, seed 0" in caption


def test_captions_say_what_bands_are_and_of_how_many_seeds(whole):
    _, _, page = whole
    figures = [c for c in page.captions if c.startswith("Figure")]
    curves = [c for c in figures if "against the number of labels, mean" in c]
    assert len(curves) == 4 * 4
    assert all(
        "Bands: the 95 % confidence interval of the mean (t), cut off at" in c for c in curves
    )
    assert sum("; 3 seeds." in c for c in curves) == 4
    (penalties,) = [c for c in figures if "penalty matrix" in c and "3 seeds" in c]
    for words in ("row i and column j", "i is significantly better", "Two-sided", "ddof=1"):
        assert words in penalties
    assert any("Nemenyi's test at 5 %" in c for c in figures)


def test_a_strategy_has_the_same_key_in_every_legend(whole):
    _, _, page = whole
    keys = re.findall(r'<li><img src="([^"]+)"[^>]*> ([^ <]+)', page.text)
    by_name = {}
    for source, name in keys:
        by_name.setdefault(name.strip(), set()).add(source)
    assert len(by_name) == 13
    assert all(len(sources) == 1 for sources in by_name.values())
    assert len({next(iter(sources)) for sources in by_name.values()}) == 13


def test_provenance_has_versions_commit_hardware_seeds_and_command(whole):
    _, _, page = whole
    (row,) = [row for row in page.tables[-2] if row[0] == "0123abcd"]
    assert row[1:3] == ["processor: abacus, cores: 2", "python: 3.11.7, torch: 2.5.0"]
    assert row[3] == str(len(whole[0].runs()))
    assert f"<dd>0{DASH}4</dd>" in page.text
    assert "<dd>skvaball report results.db</dd>" in page.text
    settings = {row[0]: row[1:] for row in page.tables[-1]}
    assert settings["vab-lam-0.05"] == ["selector: vab-paper, lam: 0.05", "photos"]
    assert settings["entropy"] == ["selector: entropy", "photos, digits, steel, photos-50"]


# -- summary, ablations, options ---------------------------------------------------------


def test_summary_has_a_table_per_setting(whole, numbers):
    store, _, _ = whole
    assert list(numbers) == [
        ("photos", "none"),
        ("photos", "logit_adjustment"),
        ("digits", "none"),
        ("steel", "none"),
        ("photos-50", "none"),
    ]
    table = numbers["photos", "none"]
    areas, finals = per_seed(store, "entropy", "macro_f1")
    row = table.loc["entropy"]
    assert row["macro_f1_area"] == pytest.approx(areas.mean())
    assert row["macro_f1_area_sd"] == pytest.approx(areas.std(ddof=1))
    assert row["macro_f1_final"] == pytest.approx(finals.mean())
    assert row["n_seeds"] == row["n_pairs"] == 5
    expected = paired_differences(
        store.rounds().query("protocol == 'photos' and balance == 'none'")
    ).loc["entropy"]
    assert row[["difference", "low", "high", "p"]].tolist() == pytest.approx(
        expected[["mean", "low", "high", "p"]].tolist()
    )
    assert table.loc["full", "accuracy_final"] == pytest.approx(0.9)
    assert np.isnan(table.loc["full", "accuracy_area"])
    assert np.isnan(table.loc["random", "difference"])


def test_reference_metric_strategies_and_title_can_be_chosen(tmp_path):
    store = small_store(noise=0.01)
    options = {"reference": "vab", "metric": "macro_f1", "strategies": ["vab", "random"]}
    page = report(store, tmp_path, title="Mine", **options)
    assert "Differences to vab" in page.headings
    assert "<h1>Mine</h1>" in page.text
    assert page.table("Costs.")[0][2] == "Labels to reach the macro-f1 of vab"
    row = page.row("The same in numbers, in percentage points of macro-f1", "random")
    expected = paired_differences(store.rounds(), "vab", "macro_f1").loc["random", "mean"]
    assert [row[0] for row in page.table("Accuracy in % of each strategy")[2:]] == ["vab", "random"]
    assert row[0] == f"{100 * expected:+.1f}".replace("-", MINUS)


def test_defaults_of_presets_count_in_ablations():
    settings = {name: all_settings(config) for name, (config, _) in ABLATIONS.items()}
    sweeps = find_sweeps(settings)
    (lam,) = sweeps["lam"]
    assert lam.values == {"vab-paper": 0.005, "vab-lam-0.05": 0.05, "vab-lam-0.5": 0.5}
    (activity,) = sweeps["activity"]
    assert activity.values == {"vab-paper": "square", "vab-abs": "abs"}
    assert set(sweeps) == {"lam", "activity"}


def test_different_selectors_are_no_ablation():
    settings = {
        name: all_settings({"selector": name}) for name in ("random", "entropy", "margin", "oracle")
    }
    assert find_sweeps(settings) == {}


def test_batches_are_compared_over_the_budget_they_share(whole):
    _, _, page = whole
    (caption,) = [c for c in page.captions if "bought in a round" in c]
    assert "(100 to 400 labels)" in caption
    assert "Protocols: photos, photos-50." in caption


def test_the_report_reads_a_result_store(small, tmp_path):
    from skvaball.experiments import ResultStore, RunKey

    store = ResultStore(tmp_path / "results.db")
    store.add_protocol("photos", protocol())
    environment = {"versions": VERSIONS, "commit": "0123abcd", "hardware": HARDWARE}
    for entry in small_store()._rounds.to_dict("records"):
        key = RunKey("photos", "none", entry["strategy"], entry["seed"])
        store.add_run(key, 1 if key.strategy == "full" else 4, entry["config"])
        store.add_round(key, entry, environment)
    page = report(store, tmp_path)
    assert page.tables == small.tables
    assert page.headings == small.headings
    assert page.warnings == []


# -- errors ------------------------------------------------------------------------------


def test_errors_say_what_there_is(tmp_path):
    store = small_store()
    path = tmp_path / "report.html"
    with pytest.raises(ValueError, match=r"metric='f1' is unknown. Expected one of \['accuracy'"):
        write_report(store, path, metric="f1")
    with pytest.raises(ValueError, match=r"reference='margin' is not among .*\['random', 'vab'"):
        write_report(store, path, reference="margin")
    with pytest.raises(ValueError, match=r"no strategy \['margin'\]. It has \['random', 'vab'"):
        write_report(store, path, strategies=["random", "margin"])
    with pytest.raises(ValueError, match=r"lack the columns \['macro_f1'\]"):
        write_report(Store(store._rounds.drop(columns="macro_f1"), {}), path)
    with pytest.raises(ValueError, match="no finished round"):
        write_report(Store(store._rounds.iloc[:0], {}), path)
    assert not path.exists()


def test_a_missing_package_is_named_with_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scikit_posthocs", None)
    with pytest.raises(ImportError, match=r"scikit_posthocs.*\[experiments\]"):
        write_report(small_store(), tmp_path / "report.html")


# -- in a browser ------------------------------------------------------------------------

#: Finds what is wrong with the layout; in a table's box, which may scroll, the box counts.
PROBLEMS = """() => {
  const problems = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) problems.push("the page scrolls sideways");
  const name = e => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`;
  const boxes = [...document.querySelectorAll(
    "h1,h2,h3,p,figcaption,li,a,dt,dd,img,.heading,.label,.scroll")]
    .filter(e => !e.parentElement.closest(".scroll"))
    .map(e => [e, e.getBoundingClientRect()]);
  for (const [e, box] of boxes) {
    if (box.width < 1 || box.height < 1) {
      problems.push(`empty: ${name(e)}`);
    }
    if (box.left < -0.5 || box.right > width + 0.5) problems.push(`sticks out: ${name(e)}`);
    if (!e.matches(".scroll,a") && e.scrollWidth > e.clientWidth + 1) {
      problems.push(`text sticks out: ${name(e)}`);
    }
  }
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, one] = boxes[i], [b, other] = boxes[j];
      const over = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (over > 1 && high > 1 && !a.contains(b) && !b.contains(a)) {
        problems.push(`${name(a)} overlaps ${name(b)}`);
      }
    }
  }
  return problems;
}"""


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip("there is no chromium at /usr/bin/chromium (on Debian: apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_nothing_is_missing_cut_off_or_overlaps(whole, browser, width):
    _, path, page = whole
    tab = browser.new_page(viewport={"width": width, "height": 900})
    asked, failed = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: failed.append(message.text))
    tab.goto(path.as_uri())
    tab.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert failed == []
    loaded = tab.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth).length")
    assert loaded == len(page.images) > 100
    visible = tab.evaluate("[...document.querySelectorAll('h2,h3')].map(h => h.innerText)")
    assert visible == page.headings
    assert tab.evaluate(PROBLEMS) == []
    # A heading is at the place that the table of contents leads to.
    tab.click("nav a[href='#provenance']")
    assert tab.evaluate("document.querySelector('#provenance').getBoundingClientRect().top") < 900
    # The look at the layout would have found something.
    tab.evaluate("document.querySelector('h2').style.marginBottom = '-40px'")
    tab.evaluate("document.querySelector('figcaption').style.width = '2000px'")
    tab.evaluate("document.querySelector('figcaption').style.maxWidth = 'none'")
    problems = "; ".join(tab.evaluate(PROBLEMS))
    assert "the page scrolls sideways" in problems
    assert "sticks out: FIGCAPTION" in problems
    assert "H2  Overview overlaps" in problems
    tab.close()
