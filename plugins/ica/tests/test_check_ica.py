"""check_ica on known truths: each assumption kept or broken on purpose, and the verdict that must follow."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import html5lib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from trimkit_ica.assumptions import dependence, gaussianity
from trimkit_ica.assumptions.dependence import Dependence, compare, largest
from trimkit_ica.assumptions.gaussianity import anderson_darling, anderson_darling_p

from trimkit.metrics.independence import check_ica
from trimkit.report.verdicts import Estimate, Status

from .known_mixtures import MIXING, draws, fitted, laplace, mixed


@pytest.fixture(scope="module")
def good():
    """Three Laplace sources, mixed: every assumption holds."""
    return check_ica(mixed(laplace(6000)), name="laplace")


@pytest.fixture(scope="module")
def gaussian():
    """Nothing to find: every rotation is as good."""
    return check_ica(mixed(draws(1).normal(size=(6000, 3))))


def statuses(report):
    return {v.check: v.status for v in report.verdicts}


class TestWhereEveryAssumptionHolds:
    def test_everything_passes(self, good):
        assert {check for check, status in statuses(good).items() if status is not Status.PASS} == {"eigenvalue gap"}
        assert good.verdict("eigenvalue gap").status is Status.NOT_APPLICABLE
        assert (good.overall, good.exit_code) == (Status.PASS, 0)

    def test_the_components_are_the_sources(self, good):
        """Columns of the mixing come back, but for order, sign and the Laplace sources' scale √2."""
        found = np.stack([one.mixing for one in good.components], axis=1)
        true = math.sqrt(2) * MIXING[:3]
        cosines = np.abs((found / np.linalg.norm(found, axis=0)).T @ (true / np.linalg.norm(true, axis=0)))
        assert np.allclose(cosines.max(0), 1, atol=0.005)
        assert np.allclose(sorted(np.linalg.norm(found, axis=0)), sorted(np.linalg.norm(true, axis=0)), rtol=0.05)

    def test_shares_of_variance_fall_and_sum_to_one(self, good):
        shares = [one.variance for one in good.components]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-9)

    def test_effect_sizes_are_those_of_laplace(self, good):
        for one in good.components:
            assert one.shape.kurtosis.low <= 3 <= one.shape.kurtosis.high + 1
            assert 8e-4 < one.shape.negentropy.value < 2e-3
            assert not one.shape.gaussian

    def test_a_density_integrates_to_one(self, good):
        widths = np.diff(good.edges)
        for one in good.components:
            assert float(np.dot(one.density, widths)) == pytest.approx(1)

    def test_the_same_seed_gives_the_same_answer(self):
        x = laplace(400, 2)
        assert check_ica(x, bootstraps=2).as_dict() == check_ica(x, bootstraps=2).as_dict()
        assert check_ica(x, bootstraps=2, seed=1).as_dict() != check_ica(x, bootstraps=2).as_dict()

    def test_the_global_random_state_is_left_alone(self):
        before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        check_ica(mixed(laplace(200, 2)), bootstraps=2)
        assert torch.equal(before[0], torch.random.get_rng_state())
        assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002

    @pytest.mark.parametrize("kind", ["float32 tensor", "bfloat16 tensor", "scaled", "shifted"])
    def test_type_scale_and_mean_of_the_data_do_not_matter(self, kind):
        x = mixed(laplace(6000, 2))
        given_as = {
            "float32 tensor": torch.tensor(x, dtype=torch.float32),
            "bfloat16 tensor": torch.tensor(x, dtype=torch.bfloat16),
            "scaled": x * 1e-9,
            "shifted": x + 1e4,
        }[kind]
        assert check_ica(given_as, bootstraps=5).overall is Status.PASS


class TestNonGaussianity:
    def test_gaussian_data_fail_and_their_components_move(self, gaussian):
        assert gaussian.verdict("non-Gaussianity").status is Status.FAIL
        assert gaussian.verdict("stability").status is Status.FAIL
        assert gaussian.exit_code == 1
        assert "cannot be told from Gaussian" in gaussian.verdict("non-Gaussianity").sentence

    def test_one_gaussian_component_is_allowed(self):
        s = np.column_stack([laplace(6000, 2), draws(5).normal(size=6000)])
        report = check_ica(mixed(s))
        assert report.verdict("non-Gaussianity").status is Status.PASS
        assert report.verdict("stability").status is Status.PASS
        assert report.overall is Status.PASS
        assert sum(one.shape.gaussian for one in report.components) == 1

    def test_two_gaussian_components_are_not(self):
        s = np.column_stack([laplace(6000, 1), draws(5).normal(size=(6000, 2))])
        report = check_ica(mixed(s))
        assert report.verdict("non-Gaussianity").status is Status.FAIL
        assert report.verdict("stability").status is Status.FAIL
        assert [one.stable for one in report.components].count(False) == 2

    def test_weak_but_certain_non_gaussianity_warns(self):
        """t with 20 degrees of freedom: the tests tell it from a normal distribution, the effect is small."""
        of = fitted(draws(3).standard_t(20, size=(12_000, 2)))
        assert gaussianity.non_gaussianity(of, gaussianity.shapes(of)).status is Status.WARN

    def test_too_few_rows_do_not_decide_and_say_how_many_would(self):
        of = fitted(draws(2).normal(size=(300, 2)))
        verdict = gaussianity.non_gaussianity(of, gaussianity.shapes(of))
        assert verdict.status is Status.INCONCLUSIVE
        assert verdict.sentence.endswith(f"About {verdict.samples_needed} more samples would decide.")
        more = fitted(draws(2).normal(size=(2 * (300 + verdict.samples_needed), 2)))
        assert gaussianity.non_gaussianity(more, gaussianity.shapes(more)).status is Status.FAIL

    def test_anderson_darling_is_scipys(self):
        s = np.column_stack([draws(0).normal(size=300), draws(1).laplace(size=300)])
        expected = [stats.anderson(column, "norm", method="interpolate").statistic for column in s.T]
        assert anderson_darling(s) == pytest.approx(expected, rel=1e-10)

    def test_anderson_darling_meets_its_published_critical_values(self):
        """5 % at A* = 0.752, 1 % at 1.035 (Stephens 1986), and its p-values fall."""
        p = anderson_darling_p(np.array([0.752, 1.035]), 10**9)
        assert p == pytest.approx([0.05, 0.01], rel=0.03)
        grid = anderson_darling_p(np.linspace(0.05, 400, 4000), 500)
        assert (np.diff(grid) <= 2e-3).all()
        assert ((grid >= 0) & (grid <= 1)).all()

    def test_anderson_darling_rejects_true_normals_as_often_as_it_says(self):
        s = draws(0).normal(size=(100, 2000))
        p = anderson_darling_p(anderson_darling(s), len(s))
        assert (p < 0.05).mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 2000))


class TestIndependence:
    def test_a_common_variance_fails(self):
        """Gaussian sources times one standard deviation of 0.3, 1 or 2.5: with v the variance and a = E v² / (E v)²,
        corr(s₁², s₂²) = (a − 1) / (3a − 1) = 0.22 in every rotation."""
        scale = draws(7).choice([0.3, 1.0, 2.5], size=(6000, 1))
        report = check_ica(mixed(scale * draws(8).normal(size=(6000, 2))), bootstraps=5)
        verdict = report.verdict("independence of squares")
        assert verdict.status is Status.FAIL
        assert verdict.estimate.low <= 0.22 <= verdict.estimate.high
        assert verdict.estimate.low > verdict.settings["tolerance"]
        assert report.exit_code == 1

    def test_what_squares_do_not_show_information_does(self):
        """The same of uniform sources: FastICA finds the rotation in which their squares do not correlate."""
        scale = draws(7).choice([0.3, 1.0, 2.5], size=(4000, 1))
        report = check_ica(mixed(scale * draws(8).uniform(-1, 1, size=(4000, 2))), bootstraps=5)
        assert report.verdict("independence of squares").status is Status.PASS
        assert report.verdict("mutual information").status is Status.FAIL

    def test_a_ring_fails_in_both_measures(self):
        """Points round a circle are uncorrelated in every rotation, and never independent."""
        angle, noise = draws(8).uniform(0, 2 * math.pi, 4000), draws(9).normal(size=(4000, 2))
        report = check_ica(np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * noise)
        assert report.verdict("independence of squares").status is Status.FAIL
        assert report.verdict("mutual information").status is Status.FAIL

    def test_rotated_uniforms_are_unmixed_and_pass(self):
        """A rotation of independent uniforms is what ICA undoes; the components that are left are independent."""
        s = draws(4).uniform(-1, 1, size=(4000, 2))
        rotation = np.array([[1, 1], [-1, 1]]) / math.sqrt(2)
        assert check_ica(s @ rotation).overall is Status.PASS

    def test_sources_of_two_values_pass(self):
        """The squares of ±1 are constant; a little noise keeps neighbours apart."""
        s = draws(6).choice([-1.0, 1.0], size=(3000, 2)) + 0.05 * draws(7).normal(size=(3000, 2))
        assert check_ica(mixed(s), bootstraps=5).overall is Status.PASS

    def test_components_that_stay_rotated_fail(self):
        """The same rotation of a fit's own components, as a wrong unmixing would leave them, is seen."""
        of = fitted(draws(4).uniform(-1, 1, size=(4000, 2)))
        turned = replace(of, sources=of.sources @ np.array([[1, 1], [-1, 1]]) / math.sqrt(2))
        squares, information = dependence.measure_squares(turned), dependence.measure_information(turned)
        assert squares.matrix[0, 1] == pytest.approx(-3 / 7, abs=0.03)
        assert dependence.squares_verdict(turned, squares).status is Status.FAIL
        assert information.estimate.value == pytest.approx(0.23, abs=0.06)
        assert dependence.information_verdict(turned, information).status is Status.FAIL

    @pytest.mark.parametrize(
        ("value", "low", "high", "chance", "status"),
        [
            (0.03, 0.0, 0.2, 0.05, Status.PASS),
            (0.10, 0.0, 0.2, 0.15, Status.INCONCLUSIVE),
            (0.07, 0.05, 0.09, 0.05, Status.WARN),
            (0.12, 0.08, 0.2, 0.05, Status.INCONCLUSIVE),
            (0.3, 0.2, 0.4, 0.05, Status.FAIL),
            (0.3, 0.2, 0.4, 0.35, Status.INCONCLUSIVE),
        ],
    )
    def test_a_verdict_is_a_comparison_with_chance(self, value, low, high, chance, status):
        found = Dependence(np.eye(2), (0, 1), Estimate(value, low, high), chance, 400)
        assert compare(found, 0.1)[0] is status

    def test_needed_rows_take_chance_below_what_is_looked_for(self):
        """Chance falls as 1/√n: from 0.2 to 0.1 takes four times the rows."""
        found = Dependence(np.eye(2), (0, 1), Estimate(0.1, 0.0, 0.2), 0.2, 400)
        assert compare(found, 0.1) == (Status.INCONCLUSIVE, 1200)

    @given(st.integers(2, 6), st.integers(0, 10**6))
    @settings(max_examples=25, deadline=None)
    def test_the_largest_pair_is_off_the_diagonal(self, k, seed):
        matrix = draws(seed).normal(size=(k, k))
        matrix = matrix + matrix.T
        (i, j), value = largest(matrix)
        assert i < j
        assert value == np.abs(matrix - np.diag(np.diag(matrix))).max() == abs(matrix[i, j])


class TestReport:
    def test_the_record_is_plain_json(self, gaussian):
        content = gaussian.as_dict()
        assert json.loads(json.dumps(content, allow_nan=False)) == content
        assert content["overall"] == "FAIL"
        assert content["verdicts"][0]["check"] == "rank"

    def test_an_unknown_verdict_names_those_there_are(self, good):
        with pytest.raises(LookupError, match="there are rank, conditioning"):
            good.verdict("beauty")

    def test_the_page_is_one_well_formed_file_that_loads_nothing(self, good):
        html = good.to_html()
        document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
        assert "default-src 'none'" in html
        assert "<script" not in html
        assert "http" not in html.replace("http-equiv", "")
        headings = [h.text for h in document.iter("h2")]
        assert {"Verdicts", "Distributions", "Dependence that is left", "Spectrum"} <= set(headings)
        assert [c.text for c in document.iter("caption")] == ["Correlation of squares", "Mutual information, nats"]

    def test_the_name_of_the_data_is_escaped(self):
        html = check_ica(laplace(100, 2), bootstraps=2, name="<script>alert(1)</script>").to_html()
        assert "<script" not in html

    def test_images_are_shown_as_thumbnails(self):
        x = laplace(400, 12).reshape(400, 1, 3, 4)
        html = check_ica(x, components=3, bootstraps=2).to_html()
        assert html.count("data:image/png") == 3

    def test_save_writes_page_and_results(self, good, tmp_path):
        page = good.save(tmp_path / "new" / "check.html")
        assert page.read_text("utf-8") == good.to_html()
        assert json.loads((page.parent / "results.json").read_text("utf-8")) == good.as_dict()
        assert sorted(path.name for path in page.parent.iterdir()) == ["check.html", "results.json"]


@pytest.mark.slow
def test_independent_sources_seldom_raise_a_false_alarm():
    """20 mixtures of Laplace sources: none may FAIL; a check of dependence may be open or WARN in 5 % of them."""
    reports = [check_ica(mixed(laplace(6000, seed=seed)), bootstraps=10, seed=seed) for seed in range(20)]
    found = [v for report in reports for v in report.verdicts]
    assert not [v for v in found if v.status is Status.FAIL]
    alarms = dict.fromkeys(("independence of squares", "mutual information"), 0)
    for v in found:
        if v.check in alarms:
            alarms[v.check] += v.status is not Status.PASS
    assert all(count <= 5 for count in alarms.values())  # P(Binomial(20, 0.05) > 5) < 0.1 %
    assert sum(report.overall is Status.PASS for report in reports) >= 15
