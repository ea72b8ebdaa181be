"""Write a table of invented clinic notes, to try kdh-ray with: python examples/invented_notes.py notes.csv

Each note says of four findings whether the patient has them; it denies some of those that are absent. No patient is
behind any of them.
"""

from __future__ import annotations

import csv
import random
import sys

FINDINGS = {
    "pain": ("a dull ache in the lower back", "sharp pain on breathing in", "a sore left knee", "throbbing headaches"),
    "fever": ("a temperature of 39.1", "chills since yesterday", "night sweats", "been feverish for two days"),
    "cough": ("a dry cough", "been coughing up phlegm", "a cough that is worse at night", "a tickle in the throat"),
    "fatigue": (
        "no energy at all",
        "been sleeping ten hours and waking tired",
        "felt worn out",
        "been too tired to work",
    ),
}
OPENINGS = ("Seen in clinic today.", "Phone consultation.", "Follow-up after two weeks.", "First visit.")
CLOSINGS = ("Bloods taken.", "Review in a week.", "Advised rest and fluids.", "Referred for imaging.", "No new drugs.")


def invented_notes(count: int = 600, seed: int = 0) -> list[dict[str, str | int]]:
    """Return ``count`` rows with ``id``, ``text`` and a 0/1 column for each finding; one seed, one table."""
    rng = random.Random(seed)
    rows: list[dict[str, str | int]] = []
    for number in range(count):
        present = {name: int(rng.random() < 0.35) for name in FINDINGS}
        sentences = []
        for name, phrases in FINDINGS.items():
            if present[name]:
                sentences.append(f"Has {rng.choice(phrases)}.")
            elif rng.random() < 0.6:  # a bag of words can't tell these from the ones above
                sentences.append(f"Denies having {rng.choice(phrases)}.")
        rng.shuffle(sentences)
        text = " ".join([rng.choice(OPENINGS), *sentences, rng.choice(CLOSINGS)])
        rows.append({"id": f"note-{number:04d}", "text": text, **present})
    return rows


def main(file: str, count: int | str = 600) -> None:
    """Write ``count`` notes to a CSV file."""
    rows = invented_notes(int(count))
    with open(file, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{file}: {len(rows)} notes, labels {', '.join(FINDINGS)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
