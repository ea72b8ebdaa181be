"""Published scores on Hallmarks of Cancer, each with its protocol. Scores of different protocols do not compare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Scores of one publication under one protocol.

    Attributes:
        protocol: Our protocol with the same documents and metric; None if we have none.
        title: Name of the benchmark or paper.
        conditions: Documents, metric and repetitions in words, and how they differ from ours.
        reference: Paper and table that print the scores.
        scores: Score of each model in %, as printed and in the order of the source.
    """

    protocol: str | None
    title: str
    conditions: str
    reference: str
    scores: dict[str, str]


PUBLISHED = (
    Source(
        None,
        "KDH-MLTC (the paper)",
        "F1 on its own largest sample of the corpus, with the spread that it reports. Its samples and splits are not"
        " published, so nothing here was measured under the same conditions.",
        "arXiv 2505.07162; its abstract gives the score without the spread",
        {"KDH-MLTC: BERT to DistilBERT, settings by particle swarm": "82.70 ± 0.89"},
    ),
    Source(
        "hoc-blurb",
        "BLURB",
        "1,295/186/371 abstracts, including those without labels; micro F1; means of five runs. Our methods tune their"
        " threshold on validation.",
        "Gu et al. 2020, arXiv 2007.15779, table 6",
        {
            "BERT, uncased": "80.20",
            "RoBERTa": "79.66",
            "BioBERT": "81.54",
            "SciBERT, uncased": "80.66",
            "ClinicalBERT": "80.74",
            "BlueBERT": "80.48",
            "PubMedBERT": "82.32",
        },
    ),
    Source(
        "hoc-blue",
        "BLUE",
        "1,108/157/315 labelled abstracts; F1 of mean document precision and recall. The source does not list its"
        " documents. Ours are the 1,098/164/318 labelled documents of BLURB's splits, so the two are close but not the"
        " same.",
        "Peng et al. 2019, arXiv 1906.05474, table of github.com/ncbi-nlp/BLUE_Benchmark",
        {
            "ML-Net (Du et al. 2019)": "81.5",
            "ELMo": "80.0",
            "BioBERT": "82.9",
            "BlueBERT base, PubMed": "85.3",
            "BlueBERT base, PubMed and MIMIC-III": "83.1",
            "BlueBERT large, PubMed": "87.3",
            "BlueBERT large, PubMed and MIMIC-III": "85.3",
        },
    ),
)
