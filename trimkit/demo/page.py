"""The demo's report: the sections of an audit's page, in the order of the story."""

from __future__ import annotations

from dataclasses import replace

from trimkit.audit.page import compare_bands, compare_samples, headlines, limitations, provenance
from trimkit.demo.story import MODELS, TESTS, Story
from trimkit.report import Headline, Section, Signature, Table, Text, VerdictTable, render
from trimkit.report.verdicts import Estimate

LABEL = "integrated_gradients"


def page(story: Story) -> str:
    """The report as one self-contained HTML page."""
    lead = (
        "1,200 real handwritten digits carry a faint cosine: one Fourier bin, whose amplitude gives the label away in "
        "training and is random at test time. A classifier is trained, audited in pixels and in frequencies, and "
        "trained again with a penalty on its attributions."
    )
    sections = [
        *_headlines(story),
        accuracy_table(story),
        *_maps(story),
        planted_table(story),
        *_verdicts(story),
        *_evidence(story),
        limitations(story.audits["fft"]),
        provenance(story.audits["fft"]),
        Signature("Signed by"),
    ]
    return render("A shortcut that no pixel map shows", lead, sections, brand="trimkit demo", interactive=True)


def _headlines(story: Story) -> list[Headline]:
    """The plain model, the model with TRIM, and the explanation that shows the difference."""
    plain, trim = (headlines(story.audits[key])[0] for key in ("fft", "fft-trim"))
    audited = headlines(story.audits["fft"])[1]
    accuracies = [story.median(model, "random") for model in ("plain", "trim", "ceiling")]
    facts = [("Accuracy with TRIM", "{:.3f} → {:.3f}, ceiling {:.3f}".format(*accuracies)), *audited.facts[1:]]
    return [
        replace(plain, subject="Plain model"),
        replace(trim, subject="Model with TRIM"),
        replace(audited, facts=tuple(facts[:6])),
    ]


def accuracy_table(story: Story) -> Table:
    """Accuracies of the three trainings: median over seeds with each seed's, or those of the only seed."""
    rows = tuple((MODELS[model], *(_accuracy(story, model, test) for test in TESTS)) for model in MODELS)
    return Table(
        "Accuracy on test digits",
        _seeds(story),
        ("Training", *(name.capitalize() for name in TESTS.values())),
        rows,
        "The ceiling was trained on the same digits without any pattern.",
        strong=list(MODELS).index("trim"),
    )


def planted_table(story: Story) -> Table:
    """Share of the attribution at the planted bin, beside the two shares that know nothing of the model."""
    names = {
        "plain": "plain training, share of |score|",
        "trim": "with the TRIM penalty, share of |score|",
        "input": "input only: share of the amplitude",
        "chance": "chance: one bin of all",
    }
    return Table(
        "How much of the explanation lies at the planted bin",
        "Integrated gradients in frequency space; means over all test digits with 95 % intervals.",
        ("What", "Share"),
        tuple((text, percent(story.planted[key])) for key, text in names.items()),
    )


def percent(estimate: Estimate) -> str:
    """``28.0 % [26.5, 29.7]``; no interval where there is none."""
    value, low, high = (100 * v for v in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} %" if low == high else f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _seeds(story: Story) -> str:
    if len(story.seeds) == 1:
        return f"One training of each kind, seed {story.seeds[0]}."
    return f"Median of seeds {', '.join(map(str, story.seeds))}; each seed's accuracy in brackets."


def _accuracy(story: Story, model: str, test: str) -> str:
    if len(story.seeds) == 1:
        return f"{story.median(model, test):.3f}"
    each = ", ".join(f"{value:.3f}" for value in story.accuracies[model][test])
    return f"{story.median(model, test):.3f}  ({each})"


def _maps(story: Story) -> list[Section]:
    before_after = {"plain": story.audits["fft"], "with TRIM": story.audits["fft-trim"]}
    samples = (
        "The pixel maps of both models look like strokes and noise; little in them says that one is wrong. In "
        "frequency space the plain model's planted bin stands out, with its conjugate on the other side of the centre; "
        "after training with the penalty it is gone."
    )
    bands = (
        "Mean share of |score| by band of frequency, with 95 % intervals. The plain model leans on the band that holds "
        "the planted bin (0.35–0.44 cycles a pixel) far more than the picture's own amplitude there explains."
    )
    return [
        compare_samples("The same digits, before and after", samples, before_after, LABEL),
        compare_bands("Where the scores lie", bands, before_after, LABEL),
    ]


def _verdicts(story: Story) -> list[Section]:
    titles = {
        "pixels": "Verdicts: plain model, pixel space",
        "fft": "Verdicts: plain model, frequency space",
        "fft-trim": "Verdicts: model with TRIM, frequency space",
    }
    leads = {
        "pixels": "Can the pixel map be relied on?",
        "fft": "Can the frequency map be relied on? A verdict judges the explanation, not whether the model is right.",
        "fft-trim": "And after training with the penalty?",
    }
    return [VerdictTable(titles[key], leads[key], report.verdicts) for key, report in story.audits.items()]


def _evidence(story: Story) -> list[Section]:
    plain = story.audits["fft"].sections[LABEL]
    deletion = (
        "Plain model. Groups are removed, those with the largest score first: a good explanation's curve falls below "
        "both controls, whatever the removed coefficients are replaced by."
    )
    random = (
        "Plain model. Rank correlation of its maps with those of random copies, against random copies among themselves."
    )
    penalty = (
        "The penalty is the squared gradient of the summed log-probabilities at the planted bin, as in Ross et al. "
        "2017 but in Fourier space (TRIM, Singh et al. 2020): masked, saliency, fft."
    )
    return [
        *(replace(section, lead=deletion) for section in plain["controls"]),
        *(replace(section, lead=random) for section in plain["randomisation"]),
        *plain["reliance"],
        Text("The penalty", paragraphs=(penalty,)),
    ]
